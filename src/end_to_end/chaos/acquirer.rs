//! An acquirer that keeps its own ledger: it sends purchases over one connection, resends what is
//! not answered unchanged, gives up on some and reverses them, and changes its mind about others.
//! When the switch dies it waits for the next one and goes on.

use super::compare::{Fate, Told};
use crate::message::{Message, Speech};
use crate::process::PATIENCE;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tapswitch_protocol::{FrameStep, Mti};

/// Transactions under way on one connection. With a bank that takes its time this bounds the rate.
const WINDOW: usize = 6;
/// How long one look at the connection takes when nothing comes.
const LOOK: Duration = Duration::from_millis(10);
/// What is unanswered for longer is sent again: more than the switch has for its answer.
const REPEAT_AFTER: Duration = Duration::from_secs(3);
/// Transmissions after which an acquirer gives up and reverses.
const TRANSMISSIONS_MAX: u32 = 8;
/// Numbers of one acquirer.
pub(super) const NUMBERS: u32 = 100_000;
const FRAME_BYTES_MAX: usize = 4_096;

/// SplitMix64: the test's own draws.
pub(super) struct Draws(pub(super) u64);

impl Draws {
    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % end
    }

    fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }
}

/// What acquirers and the one who kills share.
#[derive(Default)]
pub(super) struct Stage {
    /// Which switch is running, from 1; 0: none is.
    life: Mutex<u64>,
    changed: Condvar,
    /// Answers of all acquirers.
    pub(super) answers: AtomicU64,
    /// No new transactions are begun.
    pub(super) last_call: AtomicBool,
}

impl Stage {
    pub(super) fn set_life(&self, life: u64) {
        *self.life.lock().unwrap() = life;
        self.changed.notify_all();
    }

    /// Waits for a switch to be there; `None` when there is none for too long.
    fn await_life(&self) -> Option<()> {
        let life = self.life.lock().unwrap();
        let waited = self.changed.wait_timeout_while(life, PATIENCE, |life| *life == 0).unwrap();
        (!waited.1.timed_out()).then_some(())
    }
}

/// What an acquirer is.
#[derive(Clone, Copy)]
pub(super) struct Acquirer {
    pub(super) number: u32,
    pub(super) address: SocketAddr,
    pub(super) cards: u32,
    pub(super) seed: u64,
}

struct Transaction {
    told: Told,
    /// What is sent until it is answered: the request, then perhaps the reversal.
    message: Message,
    reverses: bool,
    sent: Instant,
    transmissions: u32,
    /// When it is given up.
    transmissions_max: u32,
}

/// A purchase with a test card, made now: a switch tells by DE 7 what was made before it started.
pub(super) fn purchase(card: u32, number: u32, amount_minor: u64) -> Message {
    let amount = format!("{amount_minor:012}");
    Message::purchase(Speech::cups(), card, number).with(4, &amount).with(7, &transmission_time())
}

/// DE 7 of now: month, day and time of day in UTC.
#[expect(clippy::disallowed_methods, reason = "acquirers say when they made a request")]
fn transmission_time() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (mut day, in_day) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap = |year: u64| year.is_multiple_of(4) && year != 2100;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let (hour, minute, second) = (in_day / 3_600, in_day / 60 % 60, in_day % 60);
    format!("{month:02}{:02}{hour:02}{minute:02}{second:02}", day + 1)
}

/// The 0420 of a purchase.
fn reversal(of: &Message) -> Message {
    let (stan, time) = (of.text(11), of.text(7));
    let original = format!("0200{stan}{time}{:011}{:011}", 3_330_000, 3_330_000);
    let repeated = [2_u8, 3, 4, 7, 11, 12, 13, 18, 22, 25, 32, 33, 37, 41, 42, 49];
    let values: Vec<(u8, String)> = repeated.iter().map(|&field| (field, of.text(field))).collect();
    let mut fields: Vec<(u8, &str)> =
        values.iter().map(|(field, value)| (*field, value.as_str())).collect();
    fields.push((90, &original));
    Message::written(Speech::cups(), Mti::REVERSAL_ADVICE, &fields)
}

#[expect(clippy::disallowed_methods, reason = "acquirers repeat by the clock")]
fn now() -> Instant {
    Instant::now()
}

impl Acquirer {
    /// Works until the last call, and then until everything is resolved or patience is over. Its
    /// ledger.
    pub(super) fn run(self, stage: &Stage) -> Vec<Told> {
        let mut desk = AcquirerDesk {
            it: self,
            draws: Draws(self.seed),
            open: BTreeMap::new(),
            done: Vec::new(),
            begun: 0,
        };
        let mut last_call = None;
        while stage.await_life().is_some() {
            let Ok(mut wire) = Wire::connect(self.address) else { continue };
            if desk.resend_all(&wire).is_err() {
                continue;
            }
            while desk.work(&mut wire, stage).is_ok() {
                if stage.last_call.load(Ordering::Acquire) {
                    let since: Instant = *last_call.get_or_insert_with(now);
                    if desk.open.is_empty() || since.elapsed() > PATIENCE {
                        return desk.into_ledger();
                    }
                }
            }
        }
        desk.into_ledger()
    }
}

struct AcquirerDesk {
    it: Acquirer,
    draws: Draws,
    /// By reference number.
    open: BTreeMap<String, Transaction>,
    done: Vec<Told>,
    begun: u32,
}

impl AcquirerDesk {
    /// One round: begins, reads, repeats. An error ends the connection.
    fn work(&mut self, wire: &mut Wire, stage: &Stage) -> io::Result<()> {
        while self.open.len() < WINDOW
            && self.begun < NUMBERS
            && !stage.last_call.load(Ordering::Acquire)
        {
            let transaction = self.begin();
            wire.send(&transaction.message)?;
            self.open.insert(transaction.told.rrn.clone(), transaction);
        }
        for answer in wire.read()? {
            stage.answers.fetch_add(1, Ordering::AcqRel);
            self.take(&answer, wire)?;
        }
        let late: Vec<String> = self.open.iter().filter_map(|(rrn, it)| it.late(rrn)).collect();
        late.iter().try_for_each(|rrn| self.transmit(rrn, wire))
    }

    fn begin(&mut self) -> Transaction {
        let number = self.it.number * NUMBERS + self.begun;
        self.begun += 1;
        // Few cards are used often, so that some reach their limit.
        let (a, b) = (self.draws.below(self.it.cards.into()), self.draws.below(4));
        let card = if b == 0 { a % 16 } else { a } as u32;
        let amount_minor = 100 + self.draws.below(900);
        let message = purchase(card, number, amount_minor);
        let rrn = message.text(37);
        let told = Told { rrn, card, amount_minor, fate: Fate::Unresolved, answers: Vec::new() };
        let transmissions_max = if self.draws.is_one_in(16) { 1 } else { TRANSMISSIONS_MAX };
        let sent = now();
        Transaction { told, message, reverses: false, sent, transmissions: 1, transmissions_max }
    }

    /// An answer came.
    fn take(&mut self, answer: &Message, wire: &Wire) -> io::Result<()> {
        let (mti, code) = answer.outcome();
        let rrn = answer.text(37);
        let Some(transaction) = self.open.get_mut(&rrn) else {
            // The answer to a repeat of what is settled: it must be the same.
            if let Some(told) = self.done.iter_mut().rfind(|told| told.rrn == rrn)
                && mti == "0210"
            {
                told.answers.push(code);
            }
            return Ok(());
        };
        let is_reversal = transaction.reverses;
        match mti.as_str() {
            "0210" => transaction.told.answers.push(code.clone()),
            "0430" => assert_eq!(code, "00", "reversal advices are accepted"),
            other => panic!("an answer to nothing that was asked: {other}"),
        }
        match (mti.as_str(), code.as_str()) {
            ("0430", _) => self.settle(&rrn, Fate::Reversed),
            // It is being reversed: whatever was decided before.
            _ if is_reversal => {}
            (_, "00") if self.draws.is_one_in(16) => return self.reverse(&rrn, wire),
            (_, "00") => self.settle(&rrn, Fate::Approved),
            _ => self.settle(&rrn, Fate::Refused(code)),
        }
        Ok(())
    }

    fn settle(&mut self, rrn: &str, fate: Fate) {
        if let Some(transaction) = self.open.remove(rrn) {
            self.done.push(Told { fate, ..transaction.told });
        }
    }

    fn reverse(&mut self, rrn: &str, wire: &Wire) -> io::Result<()> {
        let Some(transaction) = self.open.get_mut(rrn) else { return Ok(()) };
        transaction.message = reversal(&transaction.message);
        transaction.reverses = true;
        transaction.sent = now();
        wire.send(&transaction.message)
    }

    /// Sends it again as it was, or gives it up and reverses it.
    fn transmit(&mut self, rrn: &str, wire: &Wire) -> io::Result<()> {
        let Some(transaction) = self.open.get_mut(rrn) else { return Ok(()) };
        if !transaction.reverses && transaction.transmissions >= transaction.transmissions_max {
            return self.reverse(rrn, wire);
        }
        transaction.transmissions += 1;
        transaction.sent = now();
        wire.send(&transaction.message)
    }

    /// A new connection: everything open is sent again.
    fn resend_all(&mut self, wire: &Wire) -> io::Result<()> {
        let open: Vec<String> = self.open.keys().cloned().collect();
        open.iter().try_for_each(|rrn| self.transmit(rrn, wire))
    }

    fn into_ledger(self) -> Vec<Told> {
        let mut ledger = self.done;
        ledger.extend(self.open.into_values().map(|transaction| transaction.told));
        ledger
    }
}

impl Transaction {
    fn late(&self, rrn: &str) -> Option<String> {
        (self.sent.elapsed() > REPEAT_AFTER).then(|| rrn.to_owned())
    }
}

/// A connection that may break at any byte.
struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LOOK))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, read: Vec::new() })
    }

    fn send(&self, message: &Message) -> io::Result<()> {
        (&self.stream).write_all(&message.frame())
    }

    /// What has come, after a short wait; an error when the switch is gone.
    fn read(&mut self) -> io::Result<Vec<Message>> {
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.read.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let speech = Speech::cups();
        let mut messages = Vec::new();
        while let FrameStep::Message { bytes, .. } =
            speech.framing.next(&self.read, FRAME_BYTES_MAX).expect("whole frames only")
        {
            let frame: Vec<u8> = self.read.drain(..bytes).collect();
            messages.push(Message::from_frame(speech, &frame));
        }
        Ok(messages)
    }
}
