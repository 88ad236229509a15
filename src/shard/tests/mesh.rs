//! Two shards: whatever crosses is answered, and every credit comes home.

use super::fixture::{Request, config, cups_header, issuer_answer, secrets};
use super::links::{linked, managed};
use crate::config::Config;
use crate::shard::wallet::{WalletOutcome, WalletRequest};
use crate::shard::{
    AcquirerId, Action, ConnectionId, Counter, IssuerId, LinkId, MeshKind, MeshMessage, Now,
    Outbox, Secrets, Shard, ShardId,
};
use tapswitch_protocol::Dialect;

pub(super) struct Pair {
    pub(super) shards: [Shard; 2],
    outboxes: [Outbox; 2],
    pub(super) responses: Vec<(usize, ConnectionId, Vec<u8>)>,
    pub(super) forwards: Vec<(usize, IssuerId, Vec<u8>)>,
    unanswered: Vec<(usize, ConnectionId)>,
    pub(super) managed: Vec<(usize, Vec<u8>)>,
}

const NOW: Now = Now { mono_ns: 1_000_000_000, wall_ms: 1_795_348_800_000 };

fn at_ms(ms: u64) -> Now {
    Now { mono_ns: NOW.mono_ns + ms * 1_000_000, wall_ms: NOW.wall_ms + ms }
}

fn connection(shard: u8) -> ConnectionId {
    ConnectionId { shard: ShardId(shard), acquirer: AcquirerId(0), slot: 1, generation: 1 }
}

impl Pair {
    fn new() -> Self {
        Self::by(&config(2))
    }

    pub(super) fn by(config: &Config) -> Self {
        Self::with(config, &secrets())
    }

    pub(super) fn with(config: &Config, secrets: &Secrets) -> Self {
        let mut shards = [0, 1].map(|id| Shard::new(ShardId(id), config, secrets));
        for (id, shard) in shards.iter_mut().enumerate() {
            shard.on_connection_open(connection(id as u8));
        }
        Self {
            shards,
            outboxes: [Outbox::new(), Outbox::new()],
            responses: Vec::new(),
            forwards: Vec::new(),
            unanswered: Vec::new(),
            managed: Vec::new(),
        }
    }

    pub(super) fn request(&mut self, shard: usize, message: &[u8]) {
        let staged = self.shards[shard].stage(connection(shard as u8), message);
        let (header, outbox) = (cups_header(), &mut self.outboxes[shard]);
        self.shards[shard].on_request(NOW, staged, &header, message, outbox);
        self.carry();
    }

    /// Carries messages between the shards until there are none.
    fn carry(&mut self) {
        loop {
            let mut mesh = Vec::new();
            for (from, outbox) in self.outboxes.iter_mut().enumerate() {
                for action in outbox.actions() {
                    match action {
                        Action::Respond { connection, bytes } => {
                            let bytes = outbox.bytes(bytes).to_vec();
                            self.responses.push((from, *connection, bytes));
                        }
                        Action::NoAnswer { connection } => {
                            self.unanswered.push((from, *connection))
                        }
                        Action::Forward { issuer, bytes, .. } => {
                            self.forwards.push((from, *issuer, outbox.bytes(bytes).to_vec()));
                        }
                        Action::Manage { bytes, .. } => {
                            self.managed.push((from, outbox.bytes(bytes).to_vec()));
                        }
                        Action::CloseLink { .. }
                        | Action::CloseConnection { .. }
                        | Action::Tell { .. } => panic!("nothing is closed here"),
                        Action::Mesh { to, kind, connection, header_bytes, bytes } => {
                            let bytes = outbox.bytes(bytes).to_vec();
                            mesh.push((from, *to, *kind, *connection, *header_bytes, bytes));
                        }
                    }
                }
                outbox.clear();
            }
            if mesh.is_empty() {
                return;
            }
            for (from, to, kind, connection, header_bytes, bytes) in mesh {
                let message = MeshMessage { kind, connection, header_bytes, bytes: &bytes };
                let to = usize::from(to.0);
                let from = ShardId(from as u8);
                self.shards[to].on_mesh(NOW, from, message, &mut self.outboxes[to]);
            }
        }
    }

    pub(super) fn answer(&mut self, code: &str) {
        let (shard, issuer, forward) = self.forwards.remove(0);
        let answer = issuer_answer(&forward, code, &[]);
        self.bring(shard, issuer, &answer);
    }

    /// A link of a shard is made.
    pub(super) fn up(&mut self, shard: usize, link: LinkId) {
        self.shards[shard].on_issuer_up(NOW, link);
        self.tick(0);
    }

    /// The connection of a shard.
    pub(super) fn connection(&self, shard: u8) -> ConnectionId {
        connection(shard)
    }

    /// An order about a token, at the shard where it is.
    pub(super) fn order(&mut self, shard: usize, request: &WalletRequest) -> WalletOutcome {
        let outbox = &mut self.outboxes[shard];
        let outcome = self.shards[shard].on_wallet_request(NOW, request, outbox);
        self.carry();
        outcome
    }

    /// Both are new, and know these records of the process before.
    pub(super) fn restarted(config: &Config, records: [&[u8]; 2]) -> Self {
        let mut pair = Self::by(config);
        for (shard, records) in pair.shards.iter_mut().zip(records) {
            shard.begin_recovery();
            shard.replay(records, 0).unwrap();
        }
        for (shard, outbox) in pair.shards.iter_mut().zip(&mut pair.outboxes) {
            assert!(!shard.on_recovered(NOW, outbox), "there is room for all of it");
        }
        pair.carry();
        pair
    }

    /// A message on an issuer's link of a shard.
    pub(super) fn bring(&mut self, shard: usize, issuer: IssuerId, message: &[u8]) {
        let outbox = &mut self.outboxes[shard];
        self.shards[shard].on_issuer_response(NOW, issuer, AcquirerId(0), message, outbox);
        self.carry();
    }

    /// Deadlines that are over at this moment, on both.
    pub(super) fn tick(&mut self, ms: u64) {
        for (shard, outbox) in self.shards.iter_mut().zip(&mut self.outboxes) {
            while shard.on_deadline(at_ms(ms), outbox) {}
        }
        self.carry();
    }

    pub(super) fn total(&self, counter: Counter) -> u64 {
        self.shards.iter().map(|shard| shard.counters().value(counter)).sum()
    }
}

pub(super) fn message(card: u64, stan: u32) -> Vec<u8> {
    let pan = format!("622848{card:013}");
    Request { pan: &pan, stan, ..Request::default() }.message(Dialect::cups())
}

#[test]
fn half_the_cards_cross_and_all_are_answered_where_they_asked() {
    let mut pair = Pair::new();
    for card in 0..40 {
        pair.request(0, &message(card, card as u32 + 1));
        pair.answer("00");
    }
    assert_eq!(pair.responses.len(), 40);
    assert!(pair.responses.iter().all(|(shard, to, _)| *shard == 0 && *to == connection(0)));
    let crossed = pair.total(Counter::CrossedOut);
    assert!((10..=30).contains(&crossed), "{crossed}");
    assert_eq!(pair.total(Counter::CrossedIn), crossed);
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0);
}

#[test]
fn repeats_from_both_shards_are_one_transaction() {
    let mut pair = Pair::new();
    for card in 0..20u32 {
        let message = message(u64::from(card), card + 1);
        pair.request(0, &message);
        pair.request(1, &message);
        assert_eq!(pair.forwards.len(), 1, "one forward");
        pair.answer("00");
        assert_eq!(pair.responses.len(), 1, "one answer");
        let (shard, to, first) = pair.responses.remove(0);
        assert_eq!((shard, to), (1, connection(1)), "to the newest transmission");
        pair.request(0, &message);
        let (shard, _, again) = pair.responses.remove(0);
        assert_eq!((shard, again), (0, first));
        let absorbed = pair.unanswered.pop();
        assert_eq!(absorbed, Some((0, connection(0))), "it is told that none comes");
        assert_eq!(pair.unanswered, []);
    }
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0);
}

#[test]
fn an_approval_that_finds_its_acquirer_gone_is_taken_back_at_its_card() {
    let mut pair = Pair::new();
    for card in 0..20u32 {
        pair.request(0, &message(u64::from(card), card + 1));
    }
    for (id, shard) in pair.shards.iter_mut().enumerate() {
        shard.on_connection_closed(connection(id as u8));
    }
    for _ in 0..20 {
        pair.answer("00");
    }
    assert_eq!(pair.responses.len(), 0);
    assert_eq!(pair.total(Counter::UndeliverableWaits), 20);
    pair.tick(200);
    assert_eq!((pair.responses.len(), pair.forwards.len()), (0, 0));
    pair.tick(11_000);
    assert_eq!(pair.total(Counter::Undeliverable), 20);
    assert_eq!(pair.forwards.len(), 20, "a 0420 each");
    for _ in 0..20 {
        assert_eq!(pair.forwards[0].2[..4], *b"0420");
        pair.answer("00");
    }
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0);
}

#[test]
fn an_approval_of_a_card_that_only_its_track_named_goes_home_too() {
    let mut pair = Pair::new();
    for card in 0..20u32 {
        let track = format!("622848{card:013}=30121010000000000");
        let extra: &[(u8, &[u8])] = &[(35, track.as_bytes())];
        let request = Request { pan: "", stan: card + 1, extra, ..Request::default() };
        pair.request(0, &request.message(Dialect::cups()));
    }
    assert!(pair.total(Counter::CrossedOut) > 0);
    for (id, shard) in pair.shards.iter_mut().enumerate() {
        shard.on_connection_closed(connection(id as u8));
    }
    for _ in 0..20 {
        pair.answer("00");
    }
    pair.tick(11_000);
    assert_eq!(pair.total(Counter::Undeliverable), 20);
    assert_eq!(pair.forwards.len(), 20, "a 0420 each");
}

#[test]
fn b1_an_approval_goes_to_a_connection_of_its_acquirer_on_another_shard() {
    let mut pair = Pair::new();
    for card in 0..20u32 {
        pair.request(0, &message(u64::from(card), card + 1));
    }
    pair.shards[0].on_connection_closed(connection(0));
    for _ in 0..20 {
        pair.answer("00");
    }
    for step in 1..6 {
        pair.tick(step * 10);
    }
    assert_eq!(pair.responses.len(), 20);
    assert!(pair.responses.iter().all(|(shard, to, _)| (*shard, *to) == (1, connection(1))));
    pair.tick(11_000);
    assert_eq!(pair.total(Counter::Undeliverable), 0);
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0);
}

/// In the output buffer of a connection that is gone: nobody remembers whose it was.
#[test]
fn b1_what_lay_in_a_dead_connection_is_found_wherever_its_card_lives() {
    let mut pair = Pair::new();
    for card in 0..20u32 {
        let track = format!("622848{card:013}=30121010000000000");
        let extra: &[(u8, &[u8])] = &[(35, track.as_bytes())];
        let request = Request { pan: "", stan: card + 1, extra, ..Request::default() };
        pair.request(0, &request.message(Dialect::cups()));
        pair.answer("00");
    }
    let lost = core::mem::take(&mut pair.responses);
    assert_eq!(lost.len(), 20);
    for (id, shard) in pair.shards.iter_mut().enumerate() {
        shard.on_connection_closed(connection(id as u8));
    }
    for (_, to, frame) in lost {
        pair.shards[0].on_undeliverable(NOW, to, &frame, &mut pair.outboxes[0]);
        pair.carry();
    }
    for ms in [10, 20, 11_000] {
        pair.tick(ms);
    }
    assert_eq!(pair.total(Counter::UndeliverableLost), 0);
    assert_eq!(pair.total(Counter::Undeliverable), 20);
    assert_eq!(pair.forwards.len(), 20, "a 0420 each");
    assert!(pair.forwards.iter().any(|(shard, ..)| *shard == 1));
}

#[test]
fn without_a_credit_a_request_is_refused_at_once() {
    let mut pair = Pair::new();
    let crossing = (0..).find(|card| {
        let before = pair.total(Counter::CrossedOut);
        pair.request(0, &message(*card, 900_000 + *card as u32));
        pair.total(Counter::CrossedOut) > before
    });
    let mut answered = 0;
    let limit = crate::limits::MESH_CREDITS - crate::limits::MESH_CREDITS_KEPT_BACK;
    for stan in 1..=(limit as u32 + 10) {
        // Not carried: the other shard does not get round to it.
        let pan = format!("622848{:013}", crossing.unwrap());
        let message = Request { pan: &pan, stan, ..Request::default() }.message(Dialect::cups());
        let staged = pair.shards[0].stage(connection(0), &message);
        let outbox = &mut pair.outboxes[0];
        pair.shards[0].on_request(NOW, staged, &cups_header(), &message, outbox);
        for action in outbox.actions() {
            answered += usize::from(matches!(action, Action::Respond { .. }));
            assert!(!matches!(action, Action::Mesh { kind: MeshKind::Response, .. }));
        }
        outbox.clear();
    }
    // The one in flight since the search holds a credit too.
    assert_eq!(answered, 11);
    assert_eq!(pair.total(Counter::RefusedNoCredit), 11);

    // What says that it was sent before may have been approved: it is never refused.
    let repeat = |stan: u32| {
        let pan = format!("622848{:013}", crossing.unwrap());
        Request { mti: 201, pan: &pan, stan, ..Request::default() }.message(Dialect::cups())
    };
    let mut texts = Vec::new();
    for stan in 1..=crate::limits::MESH_CREDITS_KEPT_BACK as u32 + 1 {
        let (message, outbox) = (repeat(stan), &mut pair.outboxes[0]);
        let staged = pair.shards[0].stage(connection(0), &message);
        pair.shards[0].on_request(NOW, staged, &cups_header(), &message, outbox);
        texts.extend(outbox.actions().iter().map(|action| match action {
            Action::Mesh { kind: MeshKind::Request, .. } => "crosses",
            Action::NoAnswer { .. } => "dropped",
            _ => "another",
        }));
        outbox.clear();
    }
    let (last, others) = texts.split_last().unwrap();
    assert!(others.iter().all(|text| *text == "crosses"), "{others:?}");
    assert_eq!((*last, pair.total(Counter::DroppedRepeat)), ("dropped", 1));
}

/// Reverses by DE 90 alone: neither DE 2 nor DE 35.
fn unnamed_reversal(mti: u16, stan: u32, original: u32) -> Vec<u8> {
    let original_stan = Some(original);
    Request { mti, pan: "", stan, original_stan, ..Request::default() }.message(Dialect::cups())
}

fn code(frame: &[u8]) -> String {
    super::fixture::with_view(&frame[50..], |view| {
        format!("{} {}", view.mti(), view.response_code().unwrap())
    })
}

#[test]
fn a_reversal_that_names_no_card_finds_its_original_on_any_shard() {
    let mut pair = Pair::new();
    for card in 0..20u32 {
        pair.request(0, &message(u64::from(card), card + 1));
        pair.answer("00");
    }
    pair.responses.clear();
    for card in 0..20u32 {
        for again in 0..2 {
            pair.request(card as usize % 2, &unnamed_reversal(420, 100 + card, card + 1));
            let (shard, _, frame) = pair.responses.remove(0);
            assert_eq!((shard, code(&frame)), (card as usize % 2, "0430 00".to_owned()), "{again}");
        }
    }
    assert_eq!(pair.total(Counter::Reversed), 20);
    assert_eq!(pair.total(Counter::OwedParked), 0);
    assert!(pair.total(Counter::ReversalUnnamed) > 5, "some were asked for");
    assert_eq!(pair.forwards.len(), 20);
    for _ in 0..20 {
        super::fixture::with_view(&pair.forwards[0].2, |view| assert!(view.has(2)));
        pair.answer("00");
    }
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0);
}

#[test]
fn a_reversal_that_names_no_card_and_is_of_nothing_known_is_kept_for_an_operator() {
    let mut pair = Pair::new();
    for _ in 0..2 {
        pair.request(1, &unnamed_reversal(420, 7, 99));
        let (_, _, frame) = pair.responses.remove(0);
        assert_eq!(code(&frame), "0430 00");
    }
    pair.request(0, &unnamed_reversal(400, 8, 98));
    assert_eq!(code(&pair.responses.remove(0).2), "0410 25", "a request is told");
    let parked = |pair: &Pair| -> u32 {
        pair.shards.iter().map(|shard| shard.owed_to(IssuerId(255)).parked).sum()
    };
    assert_eq!((parked(&pair), pair.forwards.len()), (1, 0));
    assert_eq!(pair.total(Counter::OwedParked), 1);
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0);
}

/// C16: the number says which shard asked, whatever link brings the answer.
#[test]
fn an_answer_on_a_link_of_the_other_shard_goes_to_the_one_that_asked() {
    let mut config = config(2);
    linked(&mut config, |link| link.sign_on = false);
    let mut pair = Pair::by(&config);
    for shard in &mut pair.shards {
        shard.on_issuer_up(NOW, IssuerId(0));
    }
    for card in 0..20u32 {
        pair.request(0, &message(u64::from(card), card + 1));
        let (shard, issuer, forward) = pair.forwards.remove(0);
        let answer = issuer_answer(&forward, "00", &[]);
        pair.bring(1 - shard, issuer, &answer);
        assert_eq!(pair.responses.len() as u32, card + 1, "answered");
        pair.bring(1 - shard, issuer, &answer);
    }
    assert_eq!(pair.total(Counter::Approved), 20);
    assert_eq!(pair.total(Counter::IssuerCrossed), 40);
    assert_eq!(pair.total(Counter::Unmatched), 20, "the second time nobody waits");
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0, "credits come home");
}

/// The answer to a sign-on too: the way back may be another shard's.
#[test]
fn a_sign_on_that_is_granted_on_a_link_of_the_other_shard() {
    let mut config = config(2);
    linked(&mut config, |_| {});
    let mut pair = Pair::by(&config);
    for shard in &mut pair.shards {
        shard.on_issuer_up(NOW, IssuerId(0));
    }
    pair.tick(0);
    assert_eq!(pair.managed.len(), 2, "each asks for itself");
    for (shard, sign_on) in core::mem::take(&mut pair.managed) {
        pair.bring(1 - shard, IssuerId(0), &issuer_answer(&sign_on, "00", &[]));
    }
    assert_eq!(pair.total(Counter::LinkSignedOn), 2);
    assert_eq!((pair.total(Counter::IssuerCrossed), pair.total(Counter::Unmatched)), (2, 0));
    for card in 0..20u32 {
        pair.request(0, &message(u64::from(card), card + 1));
    }
    assert_eq!(pair.forwards.len(), 20, "both take requests");
}

/// The answer to a sign-off comes when the shard that asked has ended: whoever brings it does not
/// wait for that.
#[test]
fn what_a_link_brings_for_another_shard_is_not_waited_for() {
    let mut config = config(2);
    linked(&mut config, |_| {});
    let mut pair = Pair::by(&config);
    for shard in &mut pair.shards {
        shard.on_issuer_up(NOW, IssuerId(0));
    }
    pair.tick(0);
    for (shard, asked) in core::mem::take(&mut pair.managed) {
        let answer = issuer_answer(&asked, "00", &[]);
        let other = 1 - shard;
        let outbox = &mut pair.outboxes[other];
        pair.shards[other].on_issuer_response(NOW, IssuerId(0), AcquirerId(0), &answer, outbox);
        assert_eq!(pair.shards[other].in_flight(), 0);
    }
    pair.carry();
    assert_eq!(pair.total(Counter::LinkSignedOn), 2);
}

/// B10: an issuer signs off as a whole, on whichever link.
#[test]
fn a_sign_off_is_told_to_every_shard_and_so_is_the_sign_on() {
    let mut config = config(2);
    linked(&mut config, |link| link.sign_on = false);
    let mut pair = Pair::by(&config);
    for shard in &mut pair.shards {
        shard.on_issuer_up(NOW, IssuerId(0));
    }
    let mut stan = 0;
    let mut forwarded = |pair: &mut Pair| {
        for card in 0..20u64 {
            stan += 1;
            pair.request(0, &message(card, stan));
        }
        let forwarded = pair.forwards.len();
        while !pair.forwards.is_empty() {
            pair.answer("51");
        }
        forwarded
    };
    assert_eq!(forwarded(&mut pair), 20);
    pair.bring(1, IssuerId(0), &managed("002", 7));
    assert_eq!(pair.managed.len(), 1, "one answer, from the shard that was told");
    assert_eq!(forwarded(&mut pair), 0);
    assert_eq!(pair.total(Counter::RefusedSignedOff), 20);
    assert_eq!(pair.total(Counter::IssuerSignedOff), 1);
    pair.bring(0, IssuerId(0), &managed("001", 8));
    assert_eq!(forwarded(&mut pair), 20);
    assert_eq!(pair.shards.iter().map(Shard::in_flight).sum::<usize>(), 0, "credits come home");
}
