//! `POST /parked/SHARD-NUMBER/release` and `…/drop`, whose body says why: what operators decide about
//! messages that issuers refuse.
//!
//! Not here: who may (`caller`), what becomes of it (`shard::parked`).

use super::caller::Caller;
use super::order::{OrderKind, ParkedKind};
use super::routes::{Answers, carry_out, refuse};
use crate::shard::parked::{DropNote, ParkedOrder};
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use std::sync::Arc;

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
    note: String,
) -> Response {
    let note = DropNote::new(&note).map_err(|error| error.to_string());
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
