//! `POST /wallet/…`: what wallets order of tokens, as JSON. Numbers of cards and tokens are in bodies only:
//! paths are written down by too many.
//!
//! Not here: who may (`caller`), which number a token gets and what becomes of it (`shard::wallet`).

use super::caller::Caller;
use super::order::OrderKind;
use super::routes::{Answers, carry_out, refuse};
use crate::shard::wallet::{Identification, Month, Provision, TokenAction, TokenView, WalletCard};
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tapswitch_protocol::{Pan, Par, Token, TokenRequestor};

/// An order is short, and comes at once: nobody keeps the port waiting.
const BODY_WITHIN: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 4_096;
/// Longest identification of an order.
const REQUEST_ID_BYTES_MAX: usize = 64;
/// Assurance of a token of which nobody said how sure it is.
const ASSURANCE_DEFAULT: u8 = 0;

/// What is ordered.
#[derive(Clone, PartialEq, Eq)]
pub enum WalletAsk {
    /// A new token.
    Provision(Provision),
    /// A change of one.
    Change(u64, TokenAction),
    /// What is known of one.
    Show(u64),
    /// The tokens of an account.
    OfAccount(Par),
}

/// An order about tokens.
#[derive(Clone, PartialEq, Eq)]
pub struct WalletKind {
    /// What its asker calls it; empty where nothing changes.
    pub request_id: String,
    /// What it says, as it came, by which it is compared with an earlier one of its name.
    pub contents: Vec<u8>,
    /// What it wants.
    pub ask: WalletAsk,
}

impl fmt::Debug for WalletKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WalletKind").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl WalletKind {
    /// Its name in answers and in the audit file.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match &self.ask {
            WalletAsk::Provision(_) => "wallet-provision",
            WalletAsk::Change(_, TokenAction::Activate) => "wallet-activate",
            WalletAsk::Change(_, TokenAction::Suspend) => "wallet-suspend",
            WalletAsk::Change(_, TokenAction::Resume) => "wallet-resume",
            WalletAsk::Change(_, TokenAction::Delete) => "wallet-delete",
            WalletAsk::Show(_) | WalletAsk::OfAccount(_) => "wallet-show",
        }
    }

    /// Whether it changes anything.
    #[must_use]
    pub const fn changes(&self) -> bool {
        matches!(self.ask, WalletAsk::Provision(_) | WalletAsk::Change(..))
    }
}

/// What an order came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalletStatus {
    /// It is done, or was done before.
    Done,
    /// There is no such token.
    NotFound,
    /// It contradicts what is, or an order of the same name.
    Conflict,
    /// It asks for what cannot be.
    Refused,
    /// There is no room, or nobody to do it now.
    Unavailable,
}

impl WalletStatus {
    pub(super) const fn http(self) -> StatusCode {
        match self {
            Self::Done => StatusCode::OK,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Refused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The answer to an order.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletReport {
    /// How it ended.
    pub status: WalletStatus,
    /// In one sentence.
    pub said: String,
    /// The token, or the tokens of the account, as they are now.
    pub tokens: Vec<ShownToken>,
}

impl fmt::Debug for WalletReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, said, tokens } = self;
        write!(f, "WalletReport {{ {status:?}, {said:?}, {} tokens }}", tokens.len())
    }
}

/// A token, for whoever may change it. It has no `Debug`: its number pays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownToken {
    /// Its number.
    pub token: String,
    /// Payment account reference of its card.
    pub par: String,
    /// Six and four digits of its card.
    pub card: String,
    /// Last month of the card, YYMM.
    pub card_expiry: String,
    /// Sequence number of the card.
    pub card_sequence: Option<u8>,
    /// Who asked for it.
    pub requestor: String,
    /// Last month of the token, YYMM.
    pub expiry: String,
    /// inactive, active, suspended or deleted.
    pub state: String,
    /// Whether gates keep it out.
    pub is_denied: bool,
    /// How sure it is whose it is.
    pub assurance: u8,
}

impl ShownToken {
    /// Of what a shard says.
    #[must_use]
    pub fn of(view: &TokenView) -> Self {
        let entry = &view.entry;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            token: entry.token.to_string(),
            par: text(view.par.as_bytes()),
            card: view.card.to_string(),
            card_expiry: text(&entry.card_expiry.yymm()),
            card_sequence: entry.sequence,
            requestor: entry.requestor.to_string(),
            expiry: text(&entry.expiry.yymm()),
            state: entry.state.name().to_owned(),
            is_denied: entry.is_denied,
            assurance: entry.assurance,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProvisionBody {
    request_id: String,
    requestor: String,
    pan: String,
    pan_expiry: String,
    #[serde(default)]
    pan_sequence: Option<u8>,
    token_expiry: String,
    identification: String,
    #[serde(default)]
    assurance: Option<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeBody {
    request_id: String,
    token: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowBody {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    par: Option<String>,
}

/// What every handler has.
type Asked = (State<Arc<Answers>>, Extension<Caller>, HeaderMap, Body);

pub(super) async fn provision(
    state: State<Arc<Answers>>,
    caller: Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    order((state, caller, headers, body), |body: ProvisionBody| {
        let month = |key: &str, text: &str| {
            let month = Month::from_yymm(text.as_bytes());
            month.ok_or_else(|| format!("{key} is YYMM, four digits"))
        };
        let sequence = body.pan_sequence;
        if sequence.is_some_and(|sequence| sequence > 99) {
            return Err("pan_sequence is at most 99".to_owned());
        }
        let assurance = body.assurance.unwrap_or(ASSURANCE_DEFAULT);
        if assurance > 99 {
            return Err("assurance is at most 99".to_owned());
        }
        let identification = match body.identification.as_str() {
            "green" => Identification::Green,
            "yellow" => Identification::Yellow,
            "red" => Identification::Red,
            _ => return Err("identification is green, yellow or red".to_owned()),
        };
        let pan = Pan::from_digits(body.pan.as_bytes());
        let card = WalletCard {
            pan: pan.map_err(|_| "pan is 12 to 19 digits".to_owned())?,
            expiry: month("pan_expiry", &body.pan_expiry)?,
            sequence,
        };
        let requestor = TokenRequestor::from_digits(body.requestor.as_bytes());
        let requestor = requestor.ok_or("requestor is a token requestor ID: 11 digits")?;
        let expiry = month("token_expiry", &body.token_expiry)?;
        let provision = Provision { card, requestor, expiry, assurance, identification };
        Ok((body.request_id, WalletAsk::Provision(provision)))
    })
    .await
}

/// `activate`, `suspend`, `resume` or `delete`.
pub(super) async fn change(
    state: State<Arc<Answers>>,
    caller: Extension<Caller>,
    Path(action): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(action) = TokenAction::ALL.into_iter().find(|it| it.name() == action) else {
        return refuse(StatusCode::NOT_FOUND, "tokens have no such order");
    };
    order((state, caller, headers, body), |body: ChangeBody| {
        Ok((body.request_id, WalletAsk::Change(token_number(&body.token)?, action)))
    })
    .await
}

pub(super) async fn show(
    state: State<Arc<Answers>>,
    caller: Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    order((state, caller, headers, body), |body: ShowBody| {
        let ask = match (body.token, body.par) {
            (Some(token), None) => WalletAsk::Show(token_number(&token)?),
            (None, Some(par)) => {
                let par = Par::from_ascii(par.as_bytes());
                WalletAsk::OfAccount(par.ok_or("par is 29 digits and capital letters")?)
            }
            _ => return Err("either token or par".to_owned()),
        };
        Ok((String::new(), ask))
    })
    .await
}

fn token_number(text: &str) -> Result<u64, String> {
    let token = Token::from_digits(text.as_bytes()).filter(|token| token.number() > 0);
    token.map(Token::number).ok_or_else(|| "token is 1 to 19 digits".to_owned())
}

async fn order<B: DeserializeOwned>(
    (State(answers), Extension(caller), headers, body): Asked,
    read: impl FnOnce(B) -> Result<(String, WalletAsk), String>,
) -> Response {
    let read_body = tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_BYTES_MAX)).await;
    let Ok(Ok(contents)) = read_body else {
        return refuse(StatusCode::BAD_REQUEST, "the body is JSON, of at most 4 KiB");
    };
    // What is wrong with it may hold the number: only where is told.
    let parsed = serde_json::from_slice(&contents).map_err(|error| {
        format!("line {}, column {}: not the JSON that is expected", error.line(), error.column())
    });
    let (request_id, ask) = match parsed.and_then(read) {
        Ok(read) => read,
        Err(why) => return refuse(StatusCode::BAD_REQUEST, &why),
    };
    let kind = WalletKind { request_id, contents: contents.to_vec(), ask };
    let is_named = (1..=REQUEST_ID_BYTES_MAX).contains(&kind.request_id.len());
    if kind.changes() && !is_named {
        return refuse(
            StatusCode::BAD_REQUEST,
            "request_id is 1 to 64 bytes, another for each order",
        );
    }
    carry_out(&answers, OrderKind::Wallet(Box::new(kind)), caller, &headers).await
}
