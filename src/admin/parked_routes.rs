//! `POST /parked/SHARD-NUMBER/release` and `…/drop`, whose body says why: what operators decide about
//! messages that issuers refuse.
//!
//! Not here: who may (`caller`), what becomes of it (`shard::parked`).

use super::caller::Caller;
use super::order::{OrderKind, ParkedKind};
use super::routes::{Answers, carry_out, refuse};
use crate::shard::parked::{DropNote, ParkedOrder};
use axum::Extension;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;

/// Who has a right to drop something says why at once, and briefly: nobody keeps the port waiting.
const NOTE_WITHIN: Duration = Duration::from_secs(5);
/// More than any note that is taken.
const NOTE_BYTES_MAX: usize = 1_024;

/// `SHARD-NUMBER`, as `show parked` has it.
fn parse_message_name(text: &str) -> Option<(usize, u64)> {
    let (shard, number) = text.split_once('-')?;
    Some((shard.parse().ok()?, number.parse().ok()?))
}

pub(super) async fn release(
    State(answers): State<Arc<Answers>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match kind(&name, ParkedOrder::Release) {
        Ok(kind) => carry_out(&answers, kind, caller, &headers).await,
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

pub(super) async fn drop_it(
    State(answers): State<Arc<Answers>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let read = tokio::time::timeout(NOTE_WITHIN, to_bytes(body, NOTE_BYTES_MAX)).await;
    let Ok(Ok(note)) = read else {
        return refuse(StatusCode::BAD_REQUEST, "the body says why, in a few words");
    };
    let note = DropNote::new(&String::from_utf8_lossy(&note)).map_err(|error| error.to_string());
    match note.and_then(|note| kind(&name, ParkedOrder::Drop(note))) {
        Ok(kind) => carry_out(&answers, kind, caller, &headers).await,
        Err(why) => refuse(StatusCode::BAD_REQUEST, &why),
    }
}

fn kind(name: &str, order: ParkedOrder) -> Result<OrderKind, String> {
    let parsed = parse_message_name(name);
    let (shard, number) =
        parsed.ok_or("which message? SHARD-NUMBER, as in 0-17: see `ctl show parked`")?;
    Ok(OrderKind::Parked(ParkedKind { shard, number, order }))
}
