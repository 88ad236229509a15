//! A switch of echoes on free ports, and clients for it.

use super::echo::{Echo, EchoRules, Seen};
use crate::config::{Config, EngineChoice, Idle};
use crate::io::{IoTimeouts, Stopped, Switch};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tapswitch_protocol::{FrameStep, Framing};

/// Both engines; every socket test runs on each.
pub(super) const ENGINES: [EngineChoice; 2] = [EngineChoice::TokioUring, EngineChoice::Tokio];

/// No wait of a test is longer: a hang becomes a failure. A machine that stands still for a while does
/// not.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// What a test wants to be different.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) engine: EngineChoice,
    pub(super) shards: usize,
    pub(super) idle: Idle,
    pub(super) timeouts: IoTimeouts,
    pub(super) drain_ms: u64,
    pub(super) delay_ms: u64,
    pub(super) cores: Vec<usize>,
}

impl Setup {
    pub(super) fn on(engine: EngineChoice) -> Self {
        Self {
            engine,
            shards: 1,
            idle: Idle::Park,
            // No peer is given up because the machine stood still.
            timeouts: IoTimeouts {
                frame_timeout_ms: 60_000,
                slow_consumer_ms: 60_000,
                linger_ms: 20_000,
                quiet_ms: 20,
            },
            drain_ms: 40_000,
            delay_ms: 20,
            cores: Vec::new(),
        }
    }

    /// The shipped configuration, made small, on free ports. Acquirer 0 speaks [`Framing::Cups`],
    /// acquirer 1 [`Framing::Be2`].
    pub(super) fn config(&self) -> Config {
        let mut config = Config::embedded();
        config.switch.shards = self.shards;
        config.switch.cores.clone_from(&self.cores);
        config.switch.engine = self.engine;
        config.switch.idle = self.idle;
        config.switch.drain_ms = self.drain_ms;
        config.switch.pending_max = 4_096;
        config.switch.duplicates_bytes = 1 << 20;
        config.switch.originals_bytes = 1 << 20;
        config.bank.accounts_max = 1_024;
        config.bank.threads = 0;
        config.acquirers.truncate(2);
        for acquirer in &mut config.acquirers {
            acquirer.listen.set_port(0);
            // No request runs out of time while the machine stands still, at its issuer or before it
            // gets there (for half of the margin).
            (acquirer.answer_within_ms, acquirer.transit_answer_within_ms) = (90_000, 90_000);
            (acquirer.answer_margin_ms, acquirer.transit_answer_margin_ms) = (40_000, 40_000);
        }
        let framings: Vec<_> = config.acquirers.iter().map(|acquirer| acquirer.framing).collect();
        assert_eq!(framings, [Framing::Cups, Framing::Be2]);
        config
    }

    pub(super) fn start(&self) -> Rig {
        self.start_with(|_| {})
    }

    /// With something else changed in the configuration.
    pub(super) fn start_with(&self, change: impl FnOnce(&mut Config)) -> Rig {
        let mut config = self.config();
        change(&mut config);
        let rules = EchoRules {
            shards: self.shards as u8,
            framings: config.acquirers.iter().map(|acquirer| acquirer.framing).collect(),
            delay_ms: self.delay_ms,
            draining: Arc::default(),
            released: Arc::default(),
        };
        let (draining, released) = (Arc::clone(&rules.draining), Arc::clone(&rules.released));
        let switch = Switch::start(Arc::new(config), self.timeouts, move |shard| {
            Echo::new(shard, rules.clone())
        });
        Rig { switch: switch.unwrap(), draining, released }
    }
}

/// A running switch of echoes.
pub(super) struct Rig {
    pub(super) switch: Switch<Echo>,
    /// Whether a shard knows that the switch stops.
    pub(super) draining: Arc<AtomicBool>,
    /// Lets a shard that spins go on.
    pub(super) released: Arc<AtomicBool>,
}

impl Rig {
    pub(super) fn cups(&self) -> SocketAddr {
        self.switch.local_addrs()[0]
    }

    pub(super) fn be2(&self) -> SocketAddr {
        self.switch.local_addrs()[1]
    }

    /// A client of the two-byte framing.
    pub(super) fn client(&self) -> Client {
        Client::connect(self.be2(), Framing::Be2)
    }

    pub(super) fn stop(self) -> Vec<Seen> {
        let Stopped { reports, .. } = self.switch.stop().unwrap();
        reports
    }
}

/// A blocking client.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    framing: Framing,
    read: Vec<u8>,
}

impl Client {
    pub(super) fn connect(address: SocketAddr, framing: Framing) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self::over(stream, framing)
    }

    /// The near end of a connection that the switch made.
    pub(super) fn over(stream: TcpStream, framing: Framing) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, framing, read: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Nothing more is sent.
    pub(super) fn end(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The next answer's message; `None` when the switch has ended the stream.
    pub(super) fn answer(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.framing.next(&self.read, crate::limits::FRAME_BYTES_MAX).unwrap() {
                FrameStep::Message { body, bytes, .. } => {
                    let body = body.to_vec();
                    self.read.drain(..bytes);
                    return Some(body);
                }
                FrameStep::Incomplete { .. } => {}
                FrameStep::Probe { .. } | FrameStep::Unusable { .. } => {
                    panic!("the switch sends whole messages only")
                }
            }
            let mut chunk = [0; 65_536];
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    assert!(self.read.is_empty(), "the last answer is whole");
                    return None;
                }
                Ok(bytes) => self.read.extend_from_slice(&chunk[..bytes]),
                // The process was stopped for a while.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    /// Whether bytes were read of which no answer was taken yet.
    pub(super) fn has_unread(&self) -> bool {
        !self.read.is_empty()
    }

    pub(super) fn answers(&mut self, count: usize) -> Vec<Vec<u8>> {
        (0..count).map(|_| self.answer().expect("an answer")).collect()
    }
}

/// A frame of this message.
pub(super) fn frame(framing: Framing, body: &[u8]) -> Vec<u8> {
    let header = match framing {
        Framing::Cups => {
            tapswitch_protocol::header::cups_header(b"00010000   ", b"40000000   ").to_vec()
        }
        Framing::Be2 => Vec::new(),
        Framing::Be2Tpdu => vec![0x60; framing.header_bytes()],
    };
    let mut frame = vec![0; framing.prefix_bytes() + header.len() + body.len()];
    let at = framing.begin(&header, &mut frame).unwrap();
    frame[at..].copy_from_slice(body);
    let bytes = frame.len();
    framing.finish(&mut frame, bytes);
    frame
}

/// A frame of the two-byte framing.
pub(super) fn be2(body: &[u8]) -> Vec<u8> {
    frame(Framing::Be2, body)
}

/// A message of at least 5 bytes that begins with `kind` and holds `number`.
pub(super) fn message(kind: u8, number: u32, bytes: usize) -> Vec<u8> {
    let mut message = vec![kind; bytes.max(5)];
    message[1..5].copy_from_slice(&number.to_be_bytes());
    message
}
