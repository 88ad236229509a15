//! Tests of the banks through their only door: messages in, messages out.

mod money;
mod other_numbers;
mod polling;
mod products;
mod ring_threads;
mod split;
mod transactions;
mod wire;

use super::{BankMessage, BankSet, BufferPool, Disposition};
use crate::config::{BankBehaviour, BankConfig, BankProducts, CardKind, IinRow, IssuerConfig};
use crate::shard::{AcquirerId, IssuerId, Now};
use tapswitch_protocol::{Dialect, FieldTable, MessageWriter, Mti};

/// Every account opens with this.
const OPENING: i64 = 100_000;
const NOW: Now = Now { mono_ns: 5_000, wall_ms: 1_783_155_015_000 };

/// Dialects by acquirer: the place of `cups` is 0.
fn dialects() -> Vec<&'static Dialect> {
    vec![Dialect::cups(), Dialect::iso87_ascii(), Dialect::unionpay_pos()]
}

/// A bank that approves what the account covers, at once.
fn willing() -> BankBehaviour {
    BankBehaviour {
        delay_median_us: 0,
        delay_p99_us: 0,
        insufficient_funds_ppm: 0,
        expired_ppm: 0,
        wrong_pin_ppm: 0,
        do_not_honor_ppm: 0,
        unknown_card_ppm: 0,
        silence_ppm: 0,
        late_ppm: 0,
        late_ms: 9_000,
    }
}

/// Two banks that behave alike: 621626 (19 digits, debit) is the first's, 622588 (16, credit) the
/// second's.
fn banks(seed: u64, behaviour: &BankBehaviour, accounts_max: usize) -> BankSet {
    banks_with(seed, behaviour, accounts_max, BankProducts::NONE)
}

/// The same, with funds or loans behind their cards.
fn banks_with(
    seed: u64,
    behaviour: &BankBehaviour,
    accounts_max: usize,
    products: BankProducts,
) -> BankSet {
    let opening = OPENING.unsigned_abs();
    let config = BankConfig {
        threads: 0,
        cores: Vec::new(),
        seed,
        accounts_max,
        balance_minor: (opening, opening),
        credit_line_minor: (opening, opening),
        products: BankProducts { loan_line_minor: (opening, opening), ..products },
        behaviour: vec![behaviour.clone(), behaviour.clone()],
    };
    let issuer = |name: &str| IssuerConfig {
        name: name.to_owned(),
        in_flight_max: 100,
        intent_first: false,
        saf_rate: 1_000,
        marks_repeats: None,
        link: None,
        failover: None,
    };
    let row = |prefix, issuer, kind, pan_digits| IinRow {
        prefix,
        digits: 6,
        issuer: IssuerId(issuer),
        kind,
        pan_digits,
    };
    let iins = [row(621_626, 0, CardKind::Debit, 19), row(622_588, 1, CardKind::Credit, 16)];
    BankSet::of(&config, &[issuer("SPABANK"), issuer("CMB")], &iins, dialects())
}

/// Fields of a message, ascending.
type Fields = Vec<(u8, Vec<u8>)>;

fn write(dialect: &Dialect, mti: u16, fields: &Fields) -> Vec<u8> {
    let mut out = vec![0; 2_048];
    let mut writer = MessageWriter::new(dialect, Mti::from_number(mti).unwrap(), &mut out).unwrap();
    for (field, value) in fields {
        if dialect.spec(*field).is_some() {
            writer.put(*field, value).unwrap();
        }
    }
    let bytes = writer.finish().unwrap();
    out.truncate(bytes);
    out
}

/// A parsed answer: MTI and fields as characters.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    mti: u16,
    fields: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    fn read(dialect: &Dialect, bytes: &[u8]) -> Self {
        let mut table = FieldTable::default();
        let view = dialect.parse(bytes, &mut table).expect("a bank writes what can be read");
        let fields = view
            .present()
            .into_iter()
            .map(|field| (field, view.text(field, &mut [0; 1_000]).unwrap_or_default().to_vec()));
        Self { mti: view.mti().number(), fields: fields.collect() }
    }

    fn get(&self, field: u8) -> Option<&[u8]> {
        self.fields.iter().find(|(number, _)| *number == field).map(|(_, value)| &value[..])
    }

    fn text(&self, field: u8) -> &str {
        str::from_utf8(self.get(field).unwrap_or_default()).unwrap()
    }

    fn code(&self) -> &str {
        self.text(39)
    }
}

/// Banks, one buffer, and the way between.
struct Desk {
    banks: BankSet,
    pool: BufferPool,
    now: Now,
}

impl Desk {
    fn new(behaviour: &BankBehaviour) -> Self {
        Self::with(behaviour, BankProducts::NONE)
    }

    fn with(behaviour: &BankBehaviour, products: BankProducts) -> Self {
        let banks = banks_with(42, behaviour, 1_024, products);
        Self { banks, pool: BufferPool::new(2), now: NOW }
    }

    /// Gives bytes to a bank; the message comes back as the ring would carry it.
    fn hand(&mut self, issuer: u8, acquirer: u8, bytes: &[u8]) -> (Disposition, BankMessage) {
        let mut message = self.pool.take(IssuerId(issuer), AcquirerId(acquirer), bytes).unwrap();
        let disposition = self.banks.answer(self.now, &mut message);
        (disposition, message)
    }

    /// The answer to a message in `cups`, for tests of banks that answer at once.
    fn ask(&mut self, issuer: u8, bytes: &[u8]) -> Answer {
        let (disposition, message) = self.hand(issuer, 0, bytes);
        assert_eq!(disposition, Disposition::Now);
        let answer = Answer::read(Dialect::cups(), message.bytes());
        self.pool.give(message);
        answer
    }

    fn check_books(&self) {
        for (name, ledger) in self.banks.ledgers() {
            assert_eq!(ledger.check(), Ok(()), "{name}");
        }
    }
}
