//! Requests as an acquirer writes them: which fields a kind of transaction has, and their values.
//!
//! Fields and sizes follow the public lists of acquirers' messages towards UnionPay; values are
//! invented. DE 64/128 are left out: there is no key to make a MAC with. Not here: the frames of a
//! run, which are filled in rather than written each time (see `template`).

use crate::decimal;
use crate::merchants::Merchant;
use crate::mix::Kind;
use crate::plan::{InstitutionId, LoadDialect, LoadPlan};
use crate::stamp::Stamp;
use crate::transaction::{Original, Transaction};
use tapswitch_protocol::error::WriteError;
use tapswitch_protocol::{Dialect, Framing, MessageWriter, Mti};

/// Most bytes of a frame that loadgen writes or takes.
pub(crate) const FRAME_BYTES_MAX: usize = 4_096;

/// DE 55 of a tap: a constructed cryptogram and the usual terminal data.
const CHIP_DATA: &[u8; 145] = b"\x9F\x26\x08\x5D\x01\x6C\x91\x00\x5E\x7C\xC2\x9F\x27\x01\x80\
\x9F\x10\x13\x07\x00\x01\x03\xA0\x40\x02\x01\x0A\x01\x00\x00\x00\x10\x00\xD1\xF6\x11\x52\
\x9F\x37\x04\x1E\x78\xEE\xBC\x9F\x36\x02\x02\x40\x95\x05\x00\x80\x04\x60\x00\x9A\x03\x14\x07\x01\
\x9C\x01\x00\x9F\x02\x06\x00\x00\x00\x00\x00\x01\x5F\x2A\x02\x01\x56\x82\x02\x7D\x00\
\x9F\x1A\x02\x01\x56\x9F\x03\x06\x00\x00\x00\x00\x00\x00\x9F\x33\x03\x60\xE1\xC8\
\x9F\x34\x03\x02\x03\x00\x9F\x35\x01\x22\x9F\x1E\x08\x38\x33\x32\x30\x49\x43\x43\x00\
\x84\x08\xA0\x00\x00\x03\x33\x01\x01\x02\x9F\x09\x02\x00\x20\x9F\x41\x04\x00\x00\x00\x07";

/// An invented PIN block.
const PIN_BLOCK: [u8; 8] = [0xBC, 0x9A, 0x78, 0x56, 0x34, 0x12, 0xFE, 0xDC];

/// What all requests of a run have in common.
#[derive(Clone, Copy)]
pub(crate) struct Conventions {
    pub(crate) dialect: LoadDialect,
    pub(crate) framing: Framing,
    pub(crate) acquirer: InstitutionId,
    pub(crate) forwarder: InstitutionId,
    /// DE 14, YYMM: far enough ahead.
    expiry: [u8; 4],
}

impl Conventions {
    /// Of a plan that begins at `stamp`.
    pub(crate) fn new(plan: &LoadPlan, stamp: &Stamp) -> Self {
        let &LoadPlan { dialect, framing, acquirer, forwarder, .. } = plan;
        let expiry = decimal::text((stamp.local_year + 4) % 100 * 100 + 12);
        Self { dialect, framing, acquirer, forwarder, expiry }
    }

    /// The table of the dialect.
    pub(crate) fn table(&self) -> &'static Dialect {
        self.dialect.table()
    }

    /// MTI of a kind's request.
    pub(crate) const fn mti(&self, kind: Kind) -> Mti {
        match kind {
            Kind::Tap | Kind::TapWithPin | Kind::Transit | Kind::QrCode | Kind::Balance => {
                Mti::FINANCIAL_REQUEST
            }
            Kind::PreAuthorization => Mti::AUTHORIZATION_REQUEST,
            Kind::Refund => Mti::FINANCIAL_ADVICE,
            Kind::Reversal => self.dialect.reversal_mti(),
            Kind::EchoTest | Kind::SignOn => self.dialect.network_mti(),
        }
    }
}

/// DE 3 of a kind.
pub(crate) const fn processing_code(kind: Kind) -> &'static [u8; 6] {
    match kind {
        Kind::Balance => b"300000",
        Kind::PreAuthorization => b"030000",
        Kind::Refund => b"200000",
        Kind::Tap
        | Kind::TapWithPin
        | Kind::Transit
        | Kind::QrCode
        | Kind::Reversal
        | Kind::EchoTest
        | Kind::SignOn => b"000000",
    }
}

/// DE 22 of a kind.
const fn entry_mode(kind: Kind) -> &'static [u8; 3] {
    match kind {
        Kind::TapWithPin => b"071",
        Kind::QrCode => b"032",
        Kind::Tap
        | Kind::Transit
        | Kind::Balance
        | Kind::PreAuthorization
        | Kind::Reversal
        | Kind::Refund
        | Kind::EchoTest
        | Kind::SignOn => b"072",
    }
}

/// Whether the card's chip is read for it: DE 14, 23, 35, 55.
const fn reads_chip(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Tap | Kind::TapWithPin | Kind::Transit | Kind::Balance | Kind::PreAuthorization
    )
}

/// DE 22 of a transaction: that of its original, if it has one.
pub(crate) fn entry_mode_of(transaction: &Transaction) -> &'static [u8; 3] {
    entry_mode(transaction.original.map_or(transaction.kind, |original| original.kind))
}

/// Writes the message of `transaction`, without frame.
pub(crate) fn write_message(
    conventions: &Conventions,
    transaction: &Transaction,
    merchant: &Merchant,
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let kind = transaction.kind;
    let mut writer = MessageWriter::new(conventions.table(), conventions.mti(kind), out)?;
    if kind.is_network_management() {
        writer.put(7, &transaction.transmission)?;
        writer.put(11, &transaction.stan_text)?;
        writer.put(33, conventions.forwarder.digits())?;
        writer.put(70, if kind == Kind::SignOn { b"001" } else { b"301" })?;
        return writer.finish();
    }
    put_first_half(&mut writer, conventions, transaction, merchant)?;
    put_second_half(&mut writer, conventions, transaction, merchant)?;
    writer.finish()
}

/// DE 2 to 33.
fn put_first_half(
    writer: &mut MessageWriter<'_, '_>,
    conventions: &Conventions,
    transaction: &Transaction,
    merchant: &Merchant,
) -> Result<(), WriteError> {
    let kind = transaction.kind;
    writer.put(2, transaction.card.pan.digits())?;
    writer.put(3, processing_code(kind))?;
    if kind != Kind::Balance {
        writer.put_number(4, transaction.amount_minor)?;
    }
    writer.put(7, &transaction.transmission)?;
    writer.put(11, &transaction.stan_text)?;
    writer.put(12, &transaction.local_time)?;
    writer.put(13, &transaction.local_date)?;
    if reads_chip(kind) {
        writer.put(14, &conventions.expiry)?;
    }
    writer.put(18, &merchant.mcc)?;
    writer.put(19, b"156")?;
    writer.put(22, entry_mode_of(transaction))?;
    if reads_chip(kind) {
        writer.put(23, b"001")?;
    }
    writer.put(25, if kind == Kind::PreAuthorization { b"06" } else { b"00" })?;
    if kind == Kind::TapWithPin {
        writer.put(26, b"06")?;
    }
    writer.put(32, conventions.acquirer.digits())?;
    writer.put(33, conventions.forwarder.digits())
}

/// DE 35 to 90.
fn put_second_half(
    writer: &mut MessageWriter<'_, '_>,
    conventions: &Conventions,
    transaction: &Transaction,
    merchant: &Merchant,
) -> Result<(), WriteError> {
    let kind = transaction.kind;
    if reads_chip(kind) {
        let mut track = [0; 37];
        writer.put(35, track_2(conventions, transaction.card.pan.digits(), &mut track))?;
    }
    writer.put(37, &transaction.rrn)?;
    if let Some(original) = &transaction.original {
        writer.put(38, &original.approval)?;
    }
    writer.put(41, &merchant.terminal)?;
    writer.put(42, &merchant.id)?;
    writer.put(43, &merchant.name)?;
    if kind == Kind::Refund {
        writer.put(48, &original_amount(transaction.amount_minor))?;
    }
    writer.put(49, b"156")?;
    if kind == Kind::TapWithPin {
        put_bytes(writer, 52, &PIN_BLOCK, conventions.dialect)?;
        writer.put(53, b"2600000000000000")?;
    }
    if reads_chip(kind) {
        put_bytes(writer, 55, CHIP_DATA, conventions.dialect)?;
    }
    if conventions.dialect == LoadDialect::Cups {
        writer.put(60, point_of_service(kind))?;
    }
    if let Some(original) = &transaction.original {
        writer.put(90, &original_data(conventions, original))?;
    }
    Ok(())
}

/// Track 2: the PAN, `=`, expiry, service code and filling.
fn track_2<'t>(conventions: &Conventions, pan: &[u8], track: &'t mut [u8; 37]) -> &'t [u8] {
    let rest = pan.len() + 1;
    track.fill(b'0');
    track[..pan.len()].copy_from_slice(pan);
    track[pan.len()] = b'=';
    track[rest..rest + 4].copy_from_slice(&conventions.expiry);
    track[rest + 4..rest + 7].copy_from_slice(b"201");
    &track[..rest + 17]
}

/// DE 48 of a refund: usage AS with the original's amount.
fn original_amount(amount_minor: u64) -> [u8; 19] {
    let mut text = *b"ASOA012000000000000";
    decimal::put(amount_minor, &mut text[7..]);
    text
}

/// DE 90: MTI, DE 11, 7, 32 and 33 of the original. Only 0200 purchases are reversed or refunded.
fn original_data(conventions: &Conventions, original: &Original) -> [u8; 42] {
    let mut text = [b'0'; 42];
    text[..4].copy_from_slice(&conventions.mti(original.kind).to_ascii());
    text[4..10].copy_from_slice(&original.stan);
    text[10..20].copy_from_slice(&original.transmission);
    let (acquirer, forwarder) = (conventions.acquirer.digits(), conventions.forwarder.digits());
    text[31 - acquirer.len()..31].copy_from_slice(acquirer);
    text[42 - forwarder.len()..].copy_from_slice(forwarder);
    text
}

/// DE 60: reason code, what the terminal can do, the no-PIN flag, how it was begun.
const fn point_of_service(kind: Kind) -> &'static [u8; 23] {
    match kind {
        Kind::Reversal => b"43510600031000000000001",
        Kind::TapWithPin | Kind::Balance => b"00000600030000000000001",
        Kind::Tap
        | Kind::Transit
        | Kind::QrCode
        | Kind::PreAuthorization
        | Kind::Refund
        | Kind::EchoTest
        | Kind::SignOn => b"00000600031000000000001",
    }
}

/// Puts bytes: as they are, or as hexadecimal text where the dialect is all text.
fn put_bytes(
    writer: &mut MessageWriter<'_, '_>,
    field: u8,
    bytes: &[u8],
    dialect: LoadDialect,
) -> Result<(), WriteError> {
    match dialect {
        LoadDialect::Cups => writer.put(field, bytes),
        LoadDialect::Iso87Ascii => {
            let text: Vec<u8> = bytes.iter().flat_map(|byte| hex(*byte)).collect();
            writer.put(field, &text)
        }
    }
}

fn hex(byte: u8) -> [u8; 2] {
    let digit = |nibble: u8| b"0123456789ABCDEF"[usize::from(nibble & 0x0F)];
    [digit(byte >> 4), digit(byte)]
}
