//! The frames of a run: for every kind of transaction and length of PAN one frame, written once,
//! into a copy of which the changing fields are put for each request.
//!
//! Invariant: a filled frame is, byte for byte, what [`write_message`] makes of the transaction.

use crate::cards::Card;
use crate::decimal;
use crate::merchants::{Merchant, Merchants};
use crate::message::{Conventions, FRAME_BYTES_MAX, entry_mode_of, write_message};
use crate::mix::Kind;
use crate::transaction::{Original, Transaction};
use tapswitch_protocol::error::WriteError;
use tapswitch_protocol::header::cups_header;
use tapswitch_protocol::{FieldTable, Framing, MessageView, Pan};

const PAN_LENGTH_MIN: usize = 13;
const PAN_LENGTHS: usize = 7;

/// Where in a frame the changing fields lie; 0 where a field is not there.
#[derive(Clone, Copy)]
struct Places {
    pan: usize,
    amount: usize,
    transmission: usize,
    stan: usize,
    local_time: usize,
    local_date: usize,
    mcc: usize,
    entry_mode: usize,
    track: usize,
    rrn: usize,
    approval: usize,
    terminal: usize,
    merchant: usize,
    name: usize,
    additional: usize,
    original: usize,
}

/// One frame to fill in.
struct Template {
    frame: Vec<u8>,
    places: Places,
}

/// The frames of a run.
pub(crate) struct Templates {
    /// By kind, then by length of PAN.
    templates: Vec<Template>,
}

impl Templates {
    /// Writes one frame of each sort.
    pub(crate) fn new(
        conventions: &Conventions,
        merchants: &Merchants,
    ) -> Result<Self, WriteError> {
        let digits = [b'6'; PAN_LENGTH_MIN + PAN_LENGTHS - 1];
        let mut templates = Vec::with_capacity(Kind::ALL.len() * PAN_LENGTHS);
        for kind in Kind::ALL {
            for length in PAN_LENGTH_MIN..=digits.len() {
                let pan =
                    Pan::from_digits(&digits[..length]).map_err(|_| WriteError::BadValue(2))?;
                templates.push(Template::new(conventions, &sample(kind, pan), merchants)?);
            }
        }
        Ok(Self { templates })
    }

    /// Appends the frame of `transaction` to `out`.
    #[inline]
    pub(crate) fn append(&self, transaction: &Transaction, merchant: &Merchant, out: &mut Vec<u8>) {
        let length = transaction.card.pan.digits().len() - PAN_LENGTH_MIN;
        let template = &self.templates[transaction.kind as usize * PAN_LENGTHS + length];
        let at = out.len();
        out.extend_from_slice(&template.frame);
        template.places.fill(transaction, merchant, &mut out[at..]);
    }
}

/// A transaction of this kind; its values do not matter, their lengths do.
fn sample(kind: Kind, pan: Pan) -> Transaction {
    let original = Original {
        kind: Kind::Tap,
        stan: *b"000000",
        transmission: *b"0101000000",
        approval: *b"000000",
    };
    Transaction {
        kind,
        card: Card { pan, issuer: 0 },
        amount_minor: 0,
        merchant: 0,
        stan: 0,
        stan_text: *b"000000",
        transmission: *b"0101000000",
        local_time: *b"000000",
        local_date: *b"0101",
        rrn: *b"000000000000",
        original: kind.has_original().then_some(original),
    }
}

impl Template {
    fn new(
        conventions: &Conventions,
        transaction: &Transaction,
        merchants: &Merchants,
    ) -> Result<Self, WriteError> {
        let framing = conventions.framing;
        let mut frame = vec![0; FRAME_BYTES_MAX];
        let mut header = [0; 46];
        let header = match framing {
            Framing::Cups => {
                header = cups_header(b"00010000   ", conventions.acquirer.space_filled());
                &header[..]
            }
            Framing::Be2 | Framing::Be2Tpdu => &header[..framing.header_bytes()],
        };
        let body_at = framing.begin(header, &mut frame).ok_or(WriteError::NoRoom)?;
        let merchant = merchants.at(transaction.merchant);
        let body = frame.get_mut(body_at..).ok_or(WriteError::NoRoom)?;
        let end = body_at + write_message(conventions, transaction, merchant, body)?;
        frame.truncate(end);
        framing.finish(&mut frame, end);
        let mut table = FieldTable::default();
        let view = conventions.table().parse(&frame[body_at..], &mut table);
        let view = view.map_err(|error| WriteError::BadValue(error.field))?;
        let places = Places::of(&view, body_at);
        Ok(Self { frame, places })
    }
}

impl Places {
    fn of(view: &MessageView<'_>, body_at: usize) -> Self {
        let at = |field| view.range(field).map_or(0, |range| body_at + range.start);
        Self {
            pan: at(2),
            amount: at(4),
            transmission: at(7),
            stan: at(11),
            local_time: at(12),
            local_date: at(13),
            mcc: at(18),
            entry_mode: at(22),
            track: at(35),
            rrn: at(37),
            approval: at(38),
            terminal: at(41),
            merchant: at(42),
            name: at(43),
            additional: at(48),
            original: at(90),
        }
    }

    #[inline]
    fn fill(&self, transaction: &Transaction, merchant: &Merchant, frame: &mut [u8]) {
        let pan = transaction.card.pan.digits();
        put(frame, self.pan, pan);
        put(frame, self.amount, &decimal::text::<12>(transaction.amount_minor));
        put(frame, self.transmission, &transaction.transmission);
        put(frame, self.stan, &transaction.stan_text);
        put(frame, self.local_time, &transaction.local_time);
        put(frame, self.local_date, &transaction.local_date);
        put(frame, self.mcc, &merchant.mcc);
        put(frame, self.entry_mode, entry_mode_of(transaction));
        put(frame, self.track, pan);
        put(frame, self.rrn, &transaction.rrn);
        put(frame, self.terminal, &merchant.terminal);
        put(frame, self.merchant, &merchant.id);
        put(frame, self.name, &merchant.name);
        if let Some(original) = &transaction.original {
            put(frame, self.approval, &original.approval);
            if self.additional != 0 {
                // After usage AS, its part OA and the part's length.
                let amount = decimal::text::<12>(transaction.amount_minor);
                put(frame, self.additional + 7, &amount);
            }
            put(frame, self.original + 4, &original.stan);
            put(frame, self.original + 10, &original.transmission);
        }
    }
}

/// Puts a value in its place, if it has one.
#[inline(always)]
fn put(frame: &mut [u8], at: usize, value: &[u8]) {
    if at != 0
        && let Some(place) = frame.get_mut(at..at + value.len())
    {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LoadDialect, LoadPlan};
    use crate::stamp::Stamp;
    use crate::transaction::TransactionSource;
    use std::net::SocketAddr;
    use tapswitch_protocol::{FrameStep, MtiClass};

    fn plan(dialect: LoadDialect) -> LoadPlan {
        let target = SocketAddr::from(([127, 0, 0, 1], 1));
        LoadPlan { cards: 10_000, ..LoadPlan::new(target, dialect) }
    }

    /// Draws transactions, some of them about earlier ones, and gives each with its frame.
    fn each_frame(dialect: LoadDialect, mut look: impl FnMut(&Conventions, &Transaction, &[u8])) {
        let plan = plan(dialect);
        let conventions = Conventions::new(&plan, &Stamp::at(1_800_000_000));
        let merchants = Merchants::new();
        let templates = Templates::new(&conventions, &merchants).unwrap();
        let mut source = TransactionSource::new(&plan).unwrap();
        for second in 0..5_000 {
            let stamp = Stamp::at(1_800_000_000 + second * 997);
            let transaction = source.next(&stamp, |_| false).unwrap();
            if transaction.kind.is_purchase() {
                source.keep_approved(&transaction, *b"A12345");
            }
            let mut out = b"before".to_vec();
            templates.append(&transaction, merchants.at(transaction.merchant), &mut out);
            look(&conventions, &transaction, &out[6..]);
        }
        let sign_on = source.sign_on(&Stamp::at(1)).unwrap();
        let mut out = Vec::new();
        templates.append(&sign_on, merchants.at(0), &mut out);
        look(&conventions, &sign_on, &out);
    }

    fn body<'f>(conventions: &Conventions, frame: &'f [u8]) -> &'f [u8] {
        match conventions.framing.next(frame, FRAME_BYTES_MAX).unwrap() {
            FrameStep::Message { body, bytes, .. } => {
                assert_eq!(bytes, frame.len());
                body
            }
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn a_filled_frame_is_what_the_writer_makes() {
        for dialect in [LoadDialect::Cups, LoadDialect::Iso87Ascii] {
            let mut kinds = std::collections::BTreeSet::new();
            let merchants = Merchants::new();
            each_frame(dialect, |conventions, transaction, frame| {
                let merchant = merchants.at(transaction.merchant);
                let mut out = vec![0; FRAME_BYTES_MAX];
                let end = write_message(conventions, transaction, merchant, &mut out).unwrap();
                let same = body(conventions, frame) == &out[..end];
                assert!(same, "{dialect:?} {:?}", transaction.kind);
                kinds.insert(transaction.kind);
            });
            assert_eq!(kinds.len(), Kind::ALL.len(), "every kind was tried");
        }
    }

    #[test]
    fn sizes_are_those_of_constructed_messages() {
        // Those have 16 bytes more: DE 128 and its part of the bitmap.
        each_frame(LoadDialect::Cups, |_, transaction, frame| {
            let short_pan = 2 * (19 - transaction.card.pan.digits().len());
            let expected = match transaction.kind {
                Kind::Tap | Kind::Transit | Kind::PreAuthorization => 473 - 16 - short_pan,
                Kind::TapWithPin => 499 - 16 - short_pan,
                Kind::EchoTest | Kind::SignOn => 99,
                Kind::Balance => 461 - 16 - short_pan,
                Kind::QrCode | Kind::Reversal | Kind::Refund => return,
            };
            assert_eq!(frame.len(), expected, "{:?}", transaction.kind);
        });
    }

    #[test]
    fn a_reversal_names_its_original() {
        for (dialect, mti) in [(LoadDialect::Cups, "0420"), (LoadDialect::Iso87Ascii, "0400")] {
            let mut seen = 0;
            each_frame(dialect, |conventions, transaction, frame| {
                let mut table = FieldTable::default();
                let body = body(conventions, frame);
                let view = conventions.table().parse(body, &mut table).unwrap();
                if view.mti().class() == MtiClass::Reversal {
                    seen += 1;
                    assert_eq!(view.mti().to_string(), mti);
                    let original = transaction.original.unwrap();
                    let expected = [
                        b"0200",
                        &original.stan[..],
                        &original.transmission,
                        b"00003330000",
                        b"00003330000",
                    ]
                    .concat();
                    assert_eq!(view.raw(90), Some(&expected[..]));
                    assert_eq!(view.raw(38), Some(&b"A12345"[..]));
                }
            });
            assert!(seen > 10);
        }
    }
}
