//! What the operators' port answers: reads at once, orders when they are carried out.

use super::audit::{AuditEvent, AuditResult};
use super::board::{Board, Phase};
use super::caller::{Authority, Caller};
use super::order::{Order, OrderKind, Orders, ReloadOutcome, Reply};
use super::status::Status;
use super::token::Token;
use super::{metrics, parked_routes, wallet_routes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::sync::oneshot;

/// What answers are made of.
pub(super) struct Answers {
    pub(super) board: Arc<Board>,
    pub(super) orders: Orders,
    pub(super) token: Option<Token>,
    pub(super) own_uid: u32,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// In one sentence.
    pub error: String,
}

/// All that is answered to.
pub(super) fn router(answers: Arc<Answers>) -> Router {
    Router::new()
        .route("/", get(contents))
        .route("/metrics", get(show_metrics))
        .route("/healthz", get(|| async { "serving operators\n" }))
        .route("/readyz", get(show_ready))
        .route("/status.json", get(show_status))
        .route("/reload", post(reload))
        .route("/drain", post(drain))
        .route("/parked/{message}/release", post(parked_routes::release))
        .route("/parked/{message}/drop", post(parked_routes::drop_it))
        .route("/take-over", post(take_over))
        .route("/wallet/provision", post(wallet_routes::provision))
        .route("/wallet/show", post(wallet_routes::show))
        .route("/wallet/{action}", post(wallet_routes::change))
        .with_state(answers)
}

async fn contents() -> &'static str {
    "tapswitch, operators' port\n\n\
     GET  /metrics      OpenMetrics text for Prometheus\n\
     GET  /healthz      200 while the process answers\n\
     GET  /readyz       200 while requests may be sent here, else 503 with the reason\n\
     GET  /status.json  all that `tapswitch ctl show` prints\n\
     POST /reload       read the configuration file again\n\
     POST /drain        stop with every request answered\n\
     POST /parked/SHARD-NUMBER/release   send a parked message again\n\
     POST /parked/SHARD-NUMBER/drop      drop it; the body says why\n\
     POST /wallet/provision | activate | suspend | resume | delete | show\n\
                        tokens, as JSON: see the README\n\
     POST /take-over    where `tapswitch run --take-over` goes on\n"
}

async fn show_metrics(State(answers): State<Arc<Answers>>) -> Response {
    match metrics::text(&answers.board) {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

async fn show_ready(State(answers): State<Arc<Answers>>) -> Response {
    match answers.board.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

async fn show_status(State(answers): State<Arc<Answers>>) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(Status::of(&answers.board))).into_response()
}

async fn reload(
    State(answers): State<Arc<Answers>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    carry_out(&answers, OrderKind::Reload, caller, &headers).await
}

async fn drain(
    State(answers): State<Arc<Answers>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    carry_out(&answers, OrderKind::Drain, caller, &headers).await
}

async fn take_over(
    State(answers): State<Arc<Answers>>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
) -> Response {
    carry_out(&answers, OrderKind::TakeOver, caller, &headers).await
}

pub(super) fn refuse(status: StatusCode, why: &str) -> Response {
    (status, Json(Refusal { error: why.to_owned() })).into_response()
}

/// The token that came with a request.
fn token_of(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")
}

pub(super) async fn carry_out(
    answers: &Answers,
    kind: OrderKind,
    caller: Caller,
    headers: &HeaderMap,
) -> Response {
    let given = token_of(headers);
    let authority = caller.authority(answers.own_uid, answers.token.as_ref(), given);
    if let Some(why) = authority.refused {
        answers.note_refused(&kind, &authority, why);
        return refuse(StatusCode::FORBIDDEN, why);
    }
    if answers.board.phase() != Phase::Serving {
        let phase = answers.board.phase().name();
        let why = format!("the switch is {phase}: it takes no orders now");
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &why);
    }
    let (reply, outcome) = oneshot::channel();
    let order = Order { kind, who: authority.who, from: authority.from, reply };
    let ended = "the switch ended before it had told the outcome";
    if !(answers.orders)(order) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, ended);
    }
    match outcome.await {
        Ok(Reply::Reload(report)) => {
            let status = match report.outcome {
                ReloadOutcome::Taken => StatusCode::OK,
                ReloadOutcome::Mistakes => StatusCode::UNPROCESSABLE_ENTITY,
                ReloadOutcome::NeedsRestart | ReloadOutcome::NoFile => StatusCode::CONFLICT,
                ReloadOutcome::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(report)).into_response()
        }
        Ok(Reply::Drain(report)) => {
            let is_clean = report.is_clean;
            let status = if is_clean { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            (status, Json(report)).into_response()
        }
        Ok(Reply::Parked(report)) => {
            let status = if report.is_done { StatusCode::OK } else { StatusCode::CONFLICT };
            (status, Json(report)).into_response()
        }
        Ok(Reply::Wallet(report)) => (report.status.http(), Json(report)).into_response(),
        Ok(Reply::TakeOver(report)) => {
            let is_open = report.socket.is_some();
            let status = if is_open { StatusCode::OK } else { StatusCode::CONFLICT };
            (status, Json(report)).into_response()
        }
        Err(_) => refuse(StatusCode::SERVICE_UNAVAILABLE, ended),
    }
}

impl Answers {
    fn note_refused(&self, kind: &OrderKind, authority: &Authority, why: &str) {
        let wall_ms = self.board.now().wall_ms;
        let Authority { who, from, .. } = authority;
        let text = format!("{} by {who} ({from}): {why}", kind.name());
        self.board.notables.add(wall_ms, "admin{refused}", 1, text);
        if let Some(audit) = &self.board.audit {
            let (what, detail) = (kind.name(), why.to_owned());
            let event = AuditEvent { who, from, what, detail, result: AuditResult::Refused };
            if let Err(error) = audit.add(wall_ms, &event) {
                let text = format!("{}: {error}", audit.path().display());
                self.board.notables.add(wall_ms, "audit{unwritten}", 1, text);
            }
        }
    }
}
