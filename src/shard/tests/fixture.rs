//! A shard with a small configuration, and messages for it.

use crate::config::{
    AcquirerConfig, AcquirerSession, BankConfig, BankProducts, CardKind, Config, Durability,
    EngineChoice, Idle, IinRow, IssuerConfig, JournalConfig, KeysConfig, OwnCodes, SwitchConfig,
    VelocityCondition, VelocityConfig, VelocityCounter, VelocityLimit, VelocityScope,
    VelocityWindow, WalletConfig,
};
use crate::shard::{
    AcquirerId, Action, ConnectionId, CryptogramKeys, IssuerId, Now, Outbox, Secrets, Shard,
    ShardId,
};
use tapswitch_protocol::{
    Dialect, FieldSet, FieldTable, FrameStep, Framing, MessageView, MessageWriter, Mti,
    ResponseCode, header,
};

/// Cards of the tests: C1 to C3 of issuer 0, C4 of issuer 1, C9 of nobody.
pub(super) fn pan(card: &str) -> &'static str {
    match card {
        "C1" => "6228480000000000011",
        "C2" => "6228480000000000029",
        "C3" => "6228480000000000037",
        "C4" => "6225750000000004",
        "short" => "62284800000",
        _ => "6299990000000009",
    }
}

fn code(text: &[u8; 2]) -> ResponseCode {
    ResponseCode::new(*text)
}

pub(super) fn cups_codes() -> OwnCodes {
    OwnCodes {
        unknown_mti: code(b"12"),
        format: code(b"30"),
        no_route: code(b"15"),
        issuer_unavailable: code(b"91"),
        time_out: code(b"98"),
        overload: code(b"96"),
        mis_echoed: code(b"96"),
        duplicate: code(b"94"),
        amount_limit: code(b"61"),
        count_limit: code(b"65"),
        not_signed_on: code(b"58"),
        invalid_card: code(b"14"),
        invalid_amount: code(b"13"),
        original_not_found: code(b"25"),
    }
}

fn acquirer(name: &str, dialect: &'static Dialect, framing: Framing, key: &[u8]) -> AcquirerConfig {
    AcquirerConfig {
        name: name.to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        dialect,
        framing,
        sign_on_required: false,
        session: AcquirerSession::default(),
        answer_within_ms: 10_000,
        answer_margin_ms: 2_000,
        transit_answer_within_ms: 5_000,
        transit_answer_margin_ms: 1_000,
        transit_mccs: vec![4111, 4131],
        qr_code: None,
        duplicate_key: FieldSet::of(key),
        codes: cups_codes(),
    }
}

/// 100.00 and 3 transactions a day a card; 5 taps of transit an hour.
pub(in crate::shard) fn config(shards: usize) -> Config {
    let iin = |prefix, issuer| IinRow {
        prefix,
        digits: 6,
        issuer: IssuerId(issuer),
        kind: CardKind::Debit,
        pan_digits: 19,
    };
    let issuer = |name: &str| IssuerConfig {
        name: name.to_owned(),
        in_flight_max: 1_000,
        intent_first: false,
        saf_rate: 1_000,
        marks_repeats: None,
        link: None,
        failover: None,
    };
    Config {
        switch: SwitchConfig {
            shards,
            cores: Vec::new(),
            idle: Idle::Park,
            engine: EngineChoice::Auto,
            pending_max: 64,
            duplicates_bytes: 1 << 20,
            preauthorizations_max: 128,
            originals_bytes: 1 << 20,
            drain_ms: 1_000,
            clock_step_max_ms: 0,
            stall_abort_ms: 0,
            cutoff: None,
        },
        acquirers: vec![
            acquirer("cups", Dialect::cups(), Framing::Cups, &[7, 11, 32, 33]),
            acquirer("iso87", Dialect::iso87_ascii(), Framing::Be2, &[11, 12, 13, 32, 41, 42]),
        ],
        issuers: vec![issuer("ABC"), issuer("CMB")],
        iins: vec![iin(622_848, 0), iin(622_575, 1)],
        velocity: velocity(),
        requestors: Vec::new(),
        wallet: WalletConfig { tokens: 1_000, par_giver: *b"0000" },
        bank: BankConfig {
            threads: 0,
            cores: Vec::new(),
            seed: 1,
            accounts_max: 1 << 10,
            balance_minor: (100_000, 200_000),
            credit_line_minor: (100_000, 200_000),
            products: BankProducts::NONE,
            behaviour: Vec::new(),
        },
        keys: KeysConfig::default(),
        journal: journal(),
        outcomes: None,
        admin: crate::config::AdminConfig::default(),
    }
}

/// Three transactions and 100.00 a day of a card.
fn velocity() -> VelocityConfig {
    let day = VelocityCounter {
        name: "day".to_owned(),
        scope: VelocityScope::Card,
        window: VelocityWindow::Fixed { window_s: 86_400 },
        resets_on_pin: false,
        when: VelocityCondition::default(),
    };
    let daily = VelocityLimit {
        name: "daily".to_owned(),
        counter: Some(0),
        scope_counter: None,
        count_max: Some(3),
        amount_minor_max: Some(10_000),
        when: VelocityCondition::default(),
        code: None,
    };
    let (counters, limits) = (vec![day], vec![daily]);
    VelocityConfig { lines: 1 << 10, counters, limits, ..VelocityConfig::default() }
}

fn journal() -> JournalConfig {
    JournalConfig {
        data_dir: None,
        durability: Durability::Off,
        segment_bytes: 1 << 20,
        snapshot_every_s: 60,
        snapshot_every_bytes: 1 << 30,
        stall_max_ms: 5_000,
        undurable_bytes_max: 1 << 20,
        alarm_free_percent: 10,
        refuse_free_percent: 2,
        crashes_max: 5,
        is_safe: false,
    }
}

pub(super) fn secrets() -> Secrets {
    Secrets {
        card_key: [7; 32],
        digest_key: [9; 16],
        par_key: [8; 32],
        cryptograms: CryptogramKeys::default(),
    }
}

/// One request in the making.
pub(super) struct Request<'a> {
    pub(super) mti: u16,
    pub(super) processing: &'a str,
    pub(super) pan: &'a str,
    pub(super) amount: Option<u64>,
    pub(super) stan: u32,
    pub(super) original_stan: Option<u32>,
    pub(super) extra: &'a [(u8, &'a [u8])],
}

impl Default for Request<'_> {
    fn default() -> Self {
        Self {
            mti: 200,
            processing: "000000",
            pan: pan("C1"),
            amount: Some(1_000),
            stan: 1,
            original_stan: None,
            extra: &[],
        }
    }
}

const TIME: &str = "1122120000";

impl Request<'_> {
    /// The message, without frame.
    pub(super) fn message(&self, dialect: &Dialect) -> Vec<u8> {
        let mut out = vec![0; 2_048];
        let mti = Mti::from_number(self.mti).unwrap();
        let mut writer = MessageWriter::new(dialect, mti, &mut out).unwrap();
        let stan = format!("{:06}", self.stan);
        let amount = self.amount.map(|amount| format!("{amount:012}"));
        let original = self
            .original_stan
            .map(|stan| format!("0200{stan:06}{TIME}{:011}{:011}", 3_330_000, 3_330_000));
        let rrn = format!("{:012}", self.original_stan.unwrap_or(self.stan));
        let mut fields: Vec<(u8, &[u8])> = vec![
            (2, self.pan.as_bytes()),
            (3, self.processing.as_bytes()),
            (7, TIME.as_bytes()),
            (11, stan.as_bytes()),
            (12, b"120000"),
            (13, b"1122"),
            (18, b"5411"),
            (22, b"072"),
            (25, b"00"),
            (32, b"03330000"),
            (33, b"03330000"),
            (37, rrn.as_bytes()),
            (41, b"01080209"),
            (42, b"333290054110001"),
            (49, b"156"),
        ];
        fields.extend(amount.as_ref().map(|amount| (4, amount.as_bytes())));
        fields.extend(original.as_ref().map(|original| (90, original.as_bytes())));
        for (field, value) in self.extra {
            fields.retain(|(other, _)| other != field);
            fields.push((*field, value));
        }
        fields.sort_by_key(|(field, _)| *field);
        for (field, value) in fields {
            if field != 2 || !value.is_empty() {
                writer.put(field, value).unwrap();
            }
        }
        let bytes = writer.finish().unwrap();
        out.truncate(bytes);
        out
    }
}

/// DE 63 of a payment by token: usage TK with token and requestor, where they are not empty.
pub(super) fn paid_by(token: &str, requestor: &str) -> Vec<u8> {
    let mut objects = vec![1, 1, b'1'];
    for (tag, digits) in [(2, token), (6, requestor)] {
        objects.extend([tag, digits.len() as u8]);
        objects.extend_from_slice(digits.as_bytes());
    }
    let mut content = format!("TK{:03}", objects.len()).into_bytes();
    content.extend_from_slice(&objects);
    content
}

/// A CUPS header from the tests' acquirer.
pub(super) fn cups_header() -> [u8; 46] {
    header::cups_header(b"00010000   ", b"03330000   ")
}

/// What a shard did, made readable: `A1 0210 00`, `I0 0200`, `M1 Request`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) text: String,
    pub(super) bytes: Vec<u8>,
}

/// A shard, its time, and what it did last.
pub(super) struct World {
    pub(super) shard: Shard,
    pub(super) now: Now,
    pub(super) outbox: Outbox,
    /// Every message forwarded to an issuer, newest last.
    pub(super) forwarded: Vec<(IssuerId, AcquirerId, Vec<u8>)>,
    /// Slots of connections that a message of theirs was never answered on.
    pub(super) unanswered: Vec<u16>,
}

/// A connection of acquirer 0 (slots below 100) or 1.
pub(super) fn connection(slot: u16) -> ConnectionId {
    let acquirer = AcquirerId(u8::from(slot >= 100));
    ConnectionId { shard: ShardId(0), acquirer, slot, generation: 1 }
}

impl World {
    pub(super) fn new(config: &Config) -> Self {
        let mut shard = Shard::new(ShardId(0), config, &secrets());
        for slot in [1, 2, 101] {
            shard.on_connection_open(connection(slot));
        }
        let now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };
        Self { shard, now, outbox: Outbox::new(), forwarded: Vec::new(), unanswered: Vec::new() }
    }

    pub(super) fn at_ms(&mut self, at_ms: u64) {
        let then =
            Now { mono_ns: 1_000_000_000 + at_ms * 1_000_000, wall_ms: 1_795_348_800_000 + at_ms };
        assert!(then.mono_ns >= self.now.mono_ns, "scripts go forward");
        self.now = then;
    }

    /// A message arrives on a connection.
    pub(super) fn request(&mut self, slot: u16, message: &[u8]) -> Vec<Done> {
        let header = cups_header();
        let header = if slot < 100 { &header[..] } else { &[] };
        let staged = self.shard.stage(connection(slot), message);
        self.shard.on_request(self.now, staged, header, message, &mut self.outbox);
        self.drain()
    }

    /// The issuer answers the forward of this acquirer STAN (or any message, by its place).
    pub(super) fn issuer(&mut self, issuer: IssuerId, message: &[u8]) -> Vec<Done> {
        let acquirer = AcquirerId(0);
        self.shard.on_issuer_response(self.now, issuer, acquirer, message, &mut self.outbox);
        self.drain()
    }

    /// The issuer's link is lost.
    pub(super) fn issuer_down(&mut self, issuer: IssuerId) -> Vec<Done> {
        let mut done = Vec::new();
        loop {
            let more = self.shard.on_issuer_down(self.now, issuer, &mut self.outbox);
            done.extend(self.drain());
            if !more {
                return done;
            }
        }
    }

    pub(super) fn tick(&mut self) -> Vec<Done> {
        self.shard.on_deadline(self.now, &mut self.outbox);
        self.drain()
    }

    /// Takes the actions out of the outbox.
    pub(super) fn drain(&mut self) -> Vec<Done> {
        let mut done = Vec::new();
        for action in self.outbox.actions() {
            done.push(match action {
                Action::Respond { connection, bytes } => {
                    let bytes = self.outbox.bytes(bytes);
                    let acquirer = usize::from(connection.acquirer.0);
                    let framing = [Framing::Cups, Framing::Be2][acquirer];
                    let dialect = [Dialect::cups(), Dialect::iso87_ascii()][acquirer];
                    let Ok(FrameStep::Message { body, .. }) = framing.next(bytes, 4_096) else {
                        panic!("a response is one whole frame");
                    };
                    let mut table = FieldTable::default();
                    let view = dialect.parse(body, &mut table).expect("a response parses");
                    let code = view.response_code().expect("a response has DE 39");
                    let text = format!("A{} {} {code}", connection.slot, view.mti());
                    Done { text, bytes: body.to_vec() }
                }
                Action::NoAnswer { connection } => {
                    self.unanswered.push(connection.slot);
                    continue;
                }
                Action::Tell { connection, bytes } => {
                    let bytes = self.outbox.bytes(bytes);
                    let Ok(FrameStep::Message { body, .. }) = Framing::Cups.next(bytes, 4_096)
                    else {
                        panic!("what is told is one whole frame");
                    };
                    let told = with_view(body, |view| {
                        format!("{} {:03}", view.mti(), view.number(70).unwrap_or_default())
                    });
                    Done { text: format!("A{} {told}", connection.slot), bytes: body.to_vec() }
                }
                Action::CloseConnection { connection } => {
                    Done { text: format!("A{} closed", connection.slot), bytes: Vec::new() }
                }
                Action::Manage { link, bytes } => {
                    let bytes = self.outbox.bytes(bytes).to_vec();
                    let told = with_view(&bytes, |view| {
                        let code = view.response_code().map(|code| format!(" {code}"));
                        let order = view.number(70).unwrap_or_default();
                        format!("{} {order:03}{}", view.mti(), code.unwrap_or_default())
                    });
                    Done { text: format!("L{}.{} {told}", link.issuer.0, link.number), bytes }
                }
                Action::CloseLink { link } => Done {
                    text: format!("L{}.{} closed", link.issuer.0, link.number),
                    bytes: Vec::new(),
                },
                Action::Forward { issuer, acquirer, bytes, .. } => {
                    let bytes = self.outbox.bytes(bytes).to_vec();
                    let mti = String::from_utf8(bytes[..4].to_vec()).unwrap();
                    self.forwarded.push((*issuer, *acquirer, bytes.clone()));
                    Done { text: format!("I{} {mti}", issuer.0), bytes }
                }
                Action::Mesh { to, kind, bytes, .. } => Done {
                    text: format!("M{} {kind:?}", to.0),
                    bytes: self.outbox.bytes(bytes).to_vec(),
                },
            });
        }
        self.outbox.clear();
        done
    }
}

/// The issuer's answer to a forwarded message, with these fields replaced or added.
pub(super) fn issuer_answer(forward: &[u8], code: &str, changes: &[(u8, &[u8])]) -> Vec<u8> {
    let dialect = Dialect::cups();
    let mut table = FieldTable::default();
    let view = dialect.parse(forward, &mut table).unwrap();
    let mut out = vec![0; 2_048];
    let mti = view.mti().response().unwrap();
    let mut writer = MessageWriter::new(dialect, mti, &mut out).unwrap();
    let approval: &[(u8, &[u8])] = if code == "00" { &[(38, b"A00001")] } else { &[] };
    for field in view.present().or(FieldSet::of(&[15, 38, 39])) {
        if let Some((_, value)) = changes.iter().chain(approval).find(|(other, _)| *other == field)
        {
            writer.put(field, value).unwrap();
        } else if field == 39 {
            writer.put(39, code.as_bytes()).unwrap();
        } else if dialect.echo.has(field) {
            writer.copy(field, &view).unwrap();
        }
    }
    let bytes = writer.finish().unwrap();
    out.truncate(bytes);
    out
}

/// Reads a CUPS message.
pub(super) fn with_view<T>(message: &[u8], read: impl FnOnce(&MessageView<'_>) -> T) -> T {
    let mut table = FieldTable::default();
    read(&Dialect::cups().parse(message, &mut table).expect("a CUPS message"))
}
