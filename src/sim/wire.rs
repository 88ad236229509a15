//! Messages as acquirers and issuers write and read them, with the wire formats of `protocol` and
//! nothing of the shard's.

use super::book::{Book, Kind};
use super::plan::{ISSUERS, MERCHANTS};
use crate::config::Config;
use tapswitch_protocol::{
    Addition, Dialect, FieldTable, FrameStep, Framing, MessageView, MessageWriter, Mti, header,
    respond,
};

const BYTES_MAX: usize = 2_048;
/// What tokens begin with, and the first of them.
pub(super) const TOKEN_PREFIX: &str = "62888801";
const TOKENS_FROM: u64 = 6_288_880_100_000_000_000;
/// Last digits of a card number, by which cards of a world differ.
const CARD_DIGITS: usize = 5;

/// Writes and reads the messages of a world.
pub(super) struct Wire {
    dialect: &'static Dialect,
    framing: Framing,
    /// IIN and digits of each issuer's cards.
    cards: [([u8; 6], usize); ISSUERS],
    /// One card of so many has a token; 0: none.
    tokens_each: u32,
    table: FieldTable,
    out: Vec<u8>,
}

/// What a message says, as far as this world asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) mti: u16,
    pub(super) stan: u32,
    pub(super) time: u32,
    /// DE 37: the number of a transaction.
    pub(super) reference: u32,
    pub(super) card: u32,
    pub(super) amount: u64,
    pub(super) code: Option<[u8; 2]>,
    /// DE 90: trace number and DE 7.
    pub(super) original: Option<(u32, u32)>,
    /// DE 95: what is to stand.
    pub(super) left: Option<u64>,
    /// DE 2 is a token.
    pub(super) is_token: bool,
    pub(super) is_void: bool,
    pub(super) moves_no_money: bool,
    /// Approved by the switch itself.
    pub(super) is_marked: bool,
    /// Of all but the type.
    pub(super) digest: u64,
}

impl Seen {
    /// First three digits of the type.
    pub(super) const fn class(&self) -> u16 {
        self.mti / 10
    }
}

impl Wire {
    pub(super) fn new(config: &Config, tokens_each: u32) -> Self {
        let acquirer = &config.acquirers[0];
        let cards = core::array::from_fn(|issuer| {
            let row = &config.iins[issuer];
            (digits::<6>(u64::from(row.prefix)), usize::from(row.pan_digits))
        });
        Self {
            dialect: acquirer.dialect,
            framing: acquirer.framing,
            cards,
            tokens_each,
            table: FieldTable::default(),
            out: vec![0; BYTES_MAX],
        }
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Digits of a card's number; the issuer is the card's, by its number.
    pub(super) fn pan(&self, card: u32) -> Vec<u8> {
        let (prefix, length) = self.cards[issuer_of(card)];
        let mut pan = prefix.to_vec();
        // Sevens, which no counter or key is full of: a card number is found wherever it lies.
        pan.resize(length - CARD_DIGITS, b'7');
        pan.extend_from_slice(&digits::<CARD_DIGITS>(u64::from(card)));
        pan
    }

    /// The number of a card's token, if it has one. It ends as the card's number does.
    pub(super) fn token(&self, card: u32) -> Option<u64> {
        let has_one = self.tokens_each > 0 && card.is_multiple_of(self.tokens_each);
        has_one.then(|| TOKENS_FROM + u64::from(card))
    }

    /// What acquirers put into DE 2.
    fn known_as(&self, card: u32) -> Vec<u8> {
        self.token(card).map_or_else(|| self.pan(card), |token| digits::<19>(token).to_vec())
    }

    /// What all cards of each issuer begin with: the rest is the card's own.
    pub(super) fn beginnings(&self) -> Vec<Vec<u8>> {
        let first = (0..ISSUERS as u32).map(|card| self.pan(card));
        first.map(|pan| pan[..pan.len() - CARD_DIGITS].to_vec()).collect()
    }

    /// A message of an acquirer, framed.
    pub(super) fn request(
        &mut self,
        book: &Book,
        (number, repeated): (u32, bool),
        by_advice: bool,
    ) -> Vec<u8> {
        let transaction = book.at(number);
        let kind = transaction.kind;
        // What conflicts says the numbers of the transaction that it conflicts with.
        let named = if kind == Kind::Conflict { transaction.related } else { number };
        let (stan, time) = (Book::stan(named), book.at(named).time);
        let mti = kind.mti(by_advice) + u16::from(repeated);
        let pan = self.known_as(transaction.card);
        let time = digits::<10>(u64::from(time));
        let acquirer = institution(transaction.acquirer);
        let reference = digits::<12>(u64::from(book.reference(named)));
        let related = book.at(transaction.related);
        let original = {
            let mti = related.kind.mti(by_advice);
            let mut text = [b'0'; 42];
            text[..4].copy_from_slice(&digits::<4>(u64::from(mti)));
            text[4..10].copy_from_slice(&digits::<6>(u64::from(Book::stan(transaction.related))));
            text[10..20].copy_from_slice(&digits::<10>(u64::from(related.time)));
            text[23..31].copy_from_slice(&acquirer);
            text[34..42].copy_from_slice(&acquirer);
            text
        };
        let mut left = [b'0'; 42];
        let is_partial = matches!(kind, Kind::Reversal { left: Some(_) });
        if let Kind::Reversal { left: Some(amount) } = kind {
            left[..12].copy_from_slice(&digits::<12>(amount));
        }
        let processing = match kind {
            Kind::Reversal { .. } => related.kind.processing(),
            _ => kind.processing(),
        };
        let condition: &[u8; 2] = if kind == Kind::Completion { b"06" } else { b"00" };
        let names_original = matches!(kind, Kind::Reversal { .. } | Kind::Void);
        let local = digits::<10>(u64::from(local_time(book, named)));
        let has_amount = kind != Kind::Inquiry;
        let approval = approval_code(transaction.related);
        let mut writer = self.writer(mti);
        let mut put = |field: u8, value: &[u8]| {
            let put = writer.put(field, value);
            assert!(put.is_ok(), "Invariant: acquirers write what their dialect has: DE {field}");
        };
        put(2, &pan);
        put(3, processing);
        if has_amount {
            put(4, &digits::<12>(transaction.amount));
        }
        put(7, &time);
        put(11, &digits::<6>(u64::from(stan)));
        put(12, &local[4..]);
        put(13, &local[..4]);
        put(18, b"5411");
        put(22, b"072");
        put(25, condition);
        put(32, &acquirer);
        put(33, &acquirer);
        put(37, &reference);
        if kind == Kind::Completion {
            put(38, &approval);
        }
        put(41, &TERMINAL);
        put(42, &merchant(transaction.card));
        put(49, b"156");
        if names_original {
            put(90, &original);
        }
        if is_partial {
            put(95, &left);
        }
        let bytes = writer.finish().unwrap_or_default();
        self.frame(bytes)
    }

    fn writer(&mut self, mti: u16) -> MessageWriter<'static, '_> {
        let mti = Mti::from_number(mti).expect("Invariant: types of messages exist");
        let writer = MessageWriter::new(self.dialect, mti, &mut self.out);
        writer.expect("Invariant: there is room for a message")
    }

    /// The message at the start of `out`, in a frame.
    fn frame(&mut self, bytes: usize) -> Vec<u8> {
        let header = header::cups_header(b"00010000   ", b"03330000   ");
        let header = if self.framing == Framing::Cups { &header[..] } else { &[] };
        let mut frame = vec![0; BYTES_MAX];
        let body_at = self.framing.begin(header, &mut frame).unwrap_or_default();
        frame[body_at..body_at + bytes].copy_from_slice(&self.out[..bytes]);
        frame.truncate(body_at + bytes);
        let length = frame.len();
        self.framing.finish(&mut frame, length);
        frame
    }

    /// Bytes in a frame: what a broken acquirer sends.
    pub(super) fn framed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.out[..bytes.len()].copy_from_slice(bytes);
        self.frame(bytes.len())
    }

    /// Where the message of a frame begins.
    pub(super) fn body_at(&self) -> usize {
        self.framing.prefix_bytes() + self.framing.header_bytes()
    }

    /// Reads a whole frame.
    pub(super) fn read_frame(&mut self, frame: &[u8]) -> Option<Seen> {
        match self.framing.next(frame, BYTES_MAX) {
            Ok(FrameStep::Message { body, .. }) => self.read(body),
            _ => None,
        }
    }

    /// Reads a message.
    pub(super) fn read(&mut self, body: &[u8]) -> Option<Seen> {
        let view = self.dialect.parse(body, &mut self.table).ok()?;
        Some(seen(&view))
    }

    /// The issuer's answer with this code.
    pub(super) fn answer(&mut self, request: &[u8], code: [u8; 2], reference: u32) -> Vec<u8> {
        let Ok(view) = self.dialect.parse(request, &mut self.table) else { return Vec::new() };
        let Some(mti) = view.mti().response() else { return Vec::new() };
        let approval = approval_code(reference);
        let approved = code == *b"00" && matches!(mti.number(), 110 | 210);
        let all = [Addition { field: 38, value: &approval }, Addition { field: 39, value: &code }];
        let additions = if approved { &all[..] } else { &all[1..] };
        let mut out = vec![0; BYTES_MAX];
        let bytes = respond(&view, mti, self.dialect.echo, additions, &mut out);
        out.truncate(bytes.unwrap_or_default());
        out
    }

    /// An issuer's own network management.
    pub(super) fn manage(&mut self, order: u64, number: u32) -> Vec<u8> {
        let mti = if self.framing == Framing::Cups { 820 } else { 800 };
        let mut writer = self.writer(mti);
        let (stan, order) = (digits::<6>(u64::from(number) % 1_000_000), digits::<3>(order));
        for (field, value) in
            [(7, &b"1122120000"[..]), (11, &stan), (33, b"03330000"), (70, &order)]
        {
            let put = writer.put(field, value);
            assert!(put.is_ok(), "Invariant: issuers write what their dialect has: DE {field}");
        }
        let bytes = writer.finish().expect("Invariant: there is room for a message");
        self.out[..bytes].to_vec()
    }

    /// Of network management: whether it is an answer, and DE 70.
    pub(super) fn management(&mut self, message: &[u8]) -> Option<(bool, u64)> {
        let view = self.dialect.parse(message, &mut self.table).ok()?;
        Some((!view.mti().expects_response(), view.number(70)?))
    }

    /// The same answer with another card, amount or reference number.
    pub(super) fn mis_echo(&mut self, answer: &mut [u8], field: u8) {
        let Ok(view) = self.dialect.parse(answer, &mut self.table) else { return };
        let last = view.range(field).and_then(|range| range.last());
        if let Some(digit) = last.and_then(|at| answer.get_mut(at)) {
            *digit = if *digit == b'9' { b'0' } else { *digit + 1 };
        }
    }
}

/// DE 13 and 12. What takes a transaction back repeats when that was: with DE 90 the switch knows it
/// by that.
fn local_time(book: &Book, number: u32) -> u32 {
    let transaction = book.at(number);
    match transaction.kind {
        Kind::Reversal { .. } => local_time(book, transaction.related),
        Kind::Void => book.at(transaction.related).time,
        _ => transaction.time,
    }
}

fn seen(view: &MessageView<'_>) -> Seen {
    let text = |field: u8| view.raw(field).unwrap_or_default();
    let number = |digits: &[u8]| {
        digits.iter().fold(0_u64, |number, digit| {
            number.wrapping_mul(10).wrapping_add(u64::from(digit & 0x0F))
        })
    };
    let original = view.raw(90).filter(|digits| digits.len() == 42);
    let pan = text(2);
    let card = pan.get(pan.len().saturating_sub(CARD_DIGITS)..).unwrap_or_default();
    // The four digits of the type come first in every dialect of acquirers.
    let contents = view.bytes().get(4..).unwrap_or_default();
    Seen {
        mti: view.mti().number(),
        stan: number(text(11)) as u32,
        time: number(text(7)) as u32,
        reference: number(text(37)) as u32,
        card: number(card) as u32,
        amount: number(text(4)),
        code: text(39).try_into().ok(),
        original: original.map(|all| (number(&all[4..10]) as u32, number(&all[10..20]) as u32)),
        left: view.raw(95).and_then(|all| all.get(..12)).map(number),
        is_token: pan.starts_with(TOKEN_PREFIX.as_bytes()),
        is_void: text(3).starts_with(b"20"),
        moves_no_money: text(3).starts_with(b"31"),
        is_marked: text(44) == super::stand_in::MARK.as_bytes(),
        digest: super::trace::digest(contents),
    }
}

/// The issuer that a card is of.
pub(super) const fn issuer_of(card: u32) -> usize {
    card as usize % ISSUERS
}

/// DE 38 of a transaction's approval.
fn approval_code(number: u32) -> [u8; 6] {
    digits::<6>(u64::from(number))
}

/// DE 41: each acquirer has one.
pub(super) const TERMINAL: [u8; 8] = *b"T0000001";

fn institution(acquirer: u8) -> [u8; 8] {
    digits::<8>(3_330_000 + u64::from(acquirer))
}

/// DE 42.
pub(super) fn merchant(card: u32) -> [u8; 15] {
    digits::<15>(333_290_000_000_000 + u64::from(card) % MERCHANTS)
}

/// The last digits of a number.
pub(super) fn digits<const N: usize>(mut number: u64) -> [u8; N] {
    let mut text = [b'0'; N];
    for digit in text.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text
}
