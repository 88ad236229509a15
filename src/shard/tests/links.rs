//! Issuers' links: sign-on, echoes, several links, sign-off, the circuit breaker, the second route.

use super::fixture::{Request, World, config, issuer_answer, pan};
use crate::config::{Config, IssuerLinkConfig};
use crate::shard::{AcquirerId, Counter, IssuerId, LinkId};
use tapswitch_protocol::{Dialect, Framing, MessageWriter, Mti};

/// Issuer 0, whose cards are C1 to C3, is reached over TCP.
pub(in crate::shard) fn linked(config: &mut Config, change: impl FnOnce(&mut IssuerLinkConfig)) {
    let address = "127.0.0.1:9101".parse().unwrap();
    let mut link = IssuerLinkConfig::new(address, Dialect::cups(), Framing::Cups);
    change(&mut link);
    config.issuers[0].link = Some(link);
}

/// An issuer's own 0820 with this DE 70.
pub(in crate::shard) fn managed(order: &str, stan: u32) -> Vec<u8> {
    let mut out = vec![0; 256];
    let mut writer = MessageWriter::new(Dialect::cups(), Mti::NETWORK_ADVICE, &mut out).unwrap();
    writer.put(7, b"1122120000").unwrap();
    writer.put(11, format!("{stan:06}").as_bytes()).unwrap();
    writer.put(70, order.as_bytes()).unwrap();
    let bytes = writer.finish().unwrap();
    out.truncate(bytes);
    out
}

const fn link(number: u8) -> LinkId {
    LinkId { issuer: IssuerId(0), number }
}

/// A shard with such links, and what it did.
struct Links {
    world: World,
    stan: u32,
    /// The newest own 0820 of each link.
    asked: [Vec<u8>; 4],
}

impl Links {
    fn new(change: impl FnOnce(&mut IssuerLinkConfig)) -> Self {
        let mut config = config(1);
        config.velocity.limits.clear();
        linked(&mut config, change);
        Self::of(&config)
    }

    fn of(config: &Config) -> Self {
        Self { world: World::new(config), stan: 0, asked: Default::default() }
    }

    fn told(&mut self, done: Vec<super::fixture::Done>) -> Vec<String> {
        for done in &done {
            if done.text.starts_with("L0.") && done.text.contains("0820") {
                let number: usize = done.text[3..4].parse().unwrap();
                self.asked[number] = done.bytes.clone();
            }
        }
        done.into_iter().map(|done| done.text).collect()
    }

    /// Time passes.
    fn tick(&mut self, at_ms: u64) -> Vec<String> {
        self.world.at_ms(at_ms);
        let done = self.world.tick();
        self.told(done)
    }

    fn up(&mut self, number: u8) -> Vec<String> {
        self.world.shard.on_issuer_up(self.world.now, link(number));
        let done = self.world.tick();
        self.told(done)
    }

    fn down(&mut self, number: u8) -> Vec<String> {
        let mut texts = Vec::new();
        let world = &mut self.world;
        while world.shard.on_issuer_down(world.now, link(number), &mut world.outbox) {
            texts.extend(world.drain());
        }
        texts.extend(world.drain());
        self.told(texts)
    }

    fn bring(&mut self, number: u8, message: &[u8]) -> Vec<String> {
        let world = &mut self.world;
        let (now, acquirer) = (world.now, AcquirerId(0));
        world.shard.on_issuer_response(now, link(number), acquirer, message, &mut world.outbox);
        let done = self.world.drain();
        self.told(done)
    }

    /// The issuer answers the newest 0820 on a link.
    fn grant(&mut self, number: u8, code: &str) -> Vec<String> {
        let answer = issuer_answer(&self.asked[usize::from(number)], code, &[]);
        self.bring(number, &answer)
    }

    /// A purchase with a number of its own.
    fn buy(&mut self, card: &str) -> String {
        self.stan += 1;
        let request = Request { pan: pan(card), stan: self.stan, ..Request::default() };
        let done = self.world.request(1, &request.message(Dialect::cups()));
        let texts = self.told(done);
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts[0].clone()
    }

    /// The issuer answers the forward at this place of all.
    fn answer(&mut self, place: usize, number: u8, code: &str) -> Vec<String> {
        let answer = issuer_answer(&self.world.forwarded[place].2.clone(), code, &[]);
        self.bring(number, &answer)
    }

    fn count(&self, counter: Counter) -> u64 {
        self.world.shard.counters().value(counter)
    }
}

#[test]
fn a_link_is_of_use_once_its_sign_on_is_granted() {
    let mut links = Links::new(|_| {});
    assert_eq!(links.buy("C1"), "A1 0210 91", "C1: no link yet");
    assert_eq!(links.up(0), ["L0.0 0820 001"]);
    assert_eq!(links.buy("C1"), "A1 0210 91", "not before it is granted");
    assert_eq!(links.grant(0, "00"), [""; 0]);
    assert_eq!(links.buy("C1"), "I0 0200");
    // And again after each reconnect.
    assert_eq!(links.down(0), ["A1 0210 98"]);
    assert_eq!(links.up(0), ["L0.0 0820 001"]);
    assert_eq!(links.buy("C1"), "A1 0210 91");
    links.grant(0, "00");
    assert_eq!(links.tick(10), ["I0 0420"], "what is owed follows");
    assert_eq!(links.count(Counter::LinkSignedOn), 2);
    assert_eq!(links.count(Counter::RefusedIssuerDown), 3);
}

/// Of links of one direction each the ways back are the issuer's to give: the number says what was
/// asked.
#[test]
fn a_sign_on_is_granted_by_whichever_link_brings_the_answer() {
    let mut links = Links::new(|link| link.connections = 2);
    links.up(0);
    links.up(1);
    let answers = [0, 1].map(|number| issuer_answer(&links.asked[number], "00", &[]));
    assert_eq!(links.bring(1, &answers[0]), [""; 0]);
    assert_eq!(links.buy("C1"), "I0 0200", "by the link that asked");
    links.bring(0, &answers[1]);
    // Echoes as well: neither link is idle, and none is given up.
    for at_ms in [30_100, 60_200, 90_300, 120_400] {
        for number in [0, 1] {
            links.asked[number].clear();
        }
        links.tick(at_ms);
        let answers = [0, 1].map(|number| issuer_answer(&links.asked[number], "00", &[]));
        links.bring(1, &answers[0]);
        links.bring(0, &answers[1]);
    }
    assert_eq!((links.count(Counter::LinkSignedOn), links.count(Counter::EchoMissed)), (2, 0));
    assert_eq!(links.count(Counter::Unmatched), 0);
}

#[test]
fn a_sign_on_that_is_refused_or_not_answered_closes_the_link() {
    let mut links = Links::new(|_| {});
    links.up(0);
    assert_eq!(links.grant(0, "91"), ["L0.0 closed"]);
    assert_eq!(links.buy("C1"), "A1 0210 91");
    links.down(0);
    links.up(0);
    assert_eq!(links.tick(9_900), [""; 0]);
    assert_eq!(links.tick(10_100), ["L0.0 closed"]);
    assert_eq!(links.count(Counter::SignOnRefused), 1);
    assert_eq!(links.count(Counter::SignOnSilent), 1);
    assert_eq!(links.grant(0, "00"), [""; 0], "too late");
    assert_eq!(links.buy("C1"), "A1 0210 91");
    links.down(0);
    // The answer to another question is no grant.
    let before = links.asked[0].clone();
    links.up(0);
    assert_ne!(before, links.asked[0]);
    links.bring(0, &issuer_answer(&before, "00", &[]));
    assert_eq!(links.buy("C1"), "A1 0210 91");
    assert_eq!(links.count(Counter::Unmatched), 1);
}

/// B8: an idle link is asked for an echo; three missed, and it is down.
#[test]
fn an_idle_link_is_asked_for_echoes_and_given_up_after_three() {
    let mut links = Links::new(|_| {});
    links.up(0);
    links.grant(0, "00");
    assert_eq!(links.tick(29_900), [""; 0]);
    assert_eq!(links.tick(30_010), ["L0.0 0820 301"]);
    assert_eq!(links.grant(0, "00"), [""; 0]);
    // Traffic is as good as an echo.
    links.world.at_ms(55_000);
    assert_eq!(links.buy("C1"), "I0 0200");
    links.answer(0, 0, "00");
    assert_eq!(links.tick(60_100), [""; 0]);
    assert_eq!(links.tick(85_010), ["L0.0 0820 301"]);
    assert_eq!(links.buy("C2"), "I0 0200");
    let told = links.tick(95_030);
    assert_eq!(told, ["A1 0210 98", "I0 0420", "L0.0 0820 301"], "the request has timed out too");
    assert_eq!(links.tick(105_050).last().unwrap(), "L0.0 0820 301");
    assert_eq!(links.buy("C3"), "I0 0200");
    let told = links.tick(115_100);
    assert!(told.contains(&"L0.0 closed".to_owned()), "{told:?}");
    assert_eq!(links.buy("C2"), "A1 0210 91", "it takes no more while it is being closed");
    links.down(0);
    assert_eq!(links.count(Counter::EchoMissed), 3);
    assert_eq!(links.count(Counter::EchoTimeout), 1);
    assert_eq!(links.count(Counter::LinkDown), 1);
}

#[test]
fn what_an_issuer_asks_is_answered() {
    let mut links = Links::new(|_| {});
    links.up(0);
    for (order, code) in
        [("301", "00"), ("001", "00"), ("201", "30"), ("202", "30"), ("101", "12"), ("777", "12")]
    {
        let told = links.bring(0, &managed(order, 5));
        assert_eq!(told, [format!("L0.0 0830 {order} {code}")]);
    }
    assert_eq!(links.count(Counter::LinkManaged), 6);
    assert_eq!(links.buy("C1"), "A1 0210 91", "its sign-on is not the answer to ours");
}

/// B10, the issuer's side: no new requests, what is in flight completes, what is owed waits.
#[test]
fn an_issuer_that_signs_off_is_asked_no_more() {
    let mut links = Links::new(|link| link.connections = 2);
    for number in 0..2 {
        links.up(number);
        links.grant(number, "00");
    }
    for _ in 0..10 {
        assert_eq!(links.buy("C1"), "I0 0200");
    }
    assert_eq!(links.bring(1, &managed("002", 9)), ["L0.1 0830 002 00"]);
    assert_eq!(links.buy("C1"), "A1 0210 91", "on no link");
    for place in 0..9 {
        assert_eq!(links.answer(place, 0, "00"), ["A1 0210 00"]);
    }
    assert_eq!(links.tick(8_100), ["A1 0210 98"], "the reversal is owed, and waits");
    assert_eq!(links.bring(0, &managed("001", 10)), ["L0.0 0830 001 00"]);
    assert_eq!(links.tick(8_110), ["I0 0420"]);
    assert_eq!(links.buy("C1"), "I0 0200");
    assert_eq!(links.count(Counter::RefusedSignedOff), 1);
    assert_eq!(links.count(Counter::IssuerSignedOff), 1);
}

/// C2: a link of several dies: what was on it is answered and reversed, never sent again; the others
/// carry on.
#[test]
fn a_link_that_dies_takes_only_its_own_requests_with_it() {
    let mut links = Links::new(|link| link.connections = 3);
    for number in 0..3 {
        links.up(number);
        links.grant(number, "00");
    }
    for _ in 0..9 {
        assert_eq!(links.buy("C1"), "I0 0200");
    }
    let told = links.down(1);
    let answers = told.iter().filter(|text| *text == "A1 0210 98").count();
    let reversals = told.iter().filter(|text| *text == "I0 0420").count();
    assert_eq!((answers, reversals, told.len()), (3, 1, 4), "the card's others wait their turn");
    assert_eq!(links.count(Counter::LinkLost), 3);
    assert_eq!(links.count(Counter::OwedPushed), 3);
    // Of the links that are left each has three.
    let mut approved = 0;
    for place in 0..9 {
        approved += usize::from(links.answer(place, 2, "00") == ["A1 0210 00"]);
    }
    assert_eq!(approved, 6, "C16: on whichever link of the issuer");
    assert_eq!(links.count(Counter::Late), 3);
    assert_eq!(links.buy("C1"), "I0 0200");
}

#[test]
fn the_link_with_the_fewest_requests_takes_the_next() {
    use crate::shard::Action;
    let mut links = Links::new(|link| link.connections = 3);
    for number in 0..3 {
        links.up(number);
        links.grant(number, "00");
    }
    let on_link = |links: &mut Links| {
        links.stan += 1;
        let request = Request { stan: links.stan, ..Request::default() };
        let message = request.message(Dialect::cups());
        let world = &mut links.world;
        let staged = world.shard.stage(super::fixture::connection(1), &message);
        let header = super::fixture::cups_header();
        world.shard.on_request(world.now, staged, &header, &message, &mut world.outbox);
        let Some(Action::Forward { link, .. }) = world.outbox.actions().first() else {
            panic!("it is forwarded");
        };
        let link = *link;
        world.drain();
        link
    };
    let first: Vec<u8> = (0..6).map(|_| on_link(&mut links)).collect();
    assert_eq!(first, [0, 1, 2, 0, 1, 2]);
    links.answer(2, 2, "00");
    links.answer(5, 2, "51");
    links.answer(1, 0, "51");
    let next: Vec<u8> = (0..4).map(|_| on_link(&mut links)).collect();
    assert_eq!(next, [2, 1, 2, 0]);
    links.down(1);
    let next: Vec<u8> = (0..2).map(|_| on_link(&mut links)).collect();
    assert_eq!(next, [2, 0], "never on one that is down");
}

/// C12: what is beyond the issuer's window is refused at once; others do not feel it.
#[test]
fn an_issuer_s_window_is_its_own() {
    let mut config = config(1);
    config.velocity.limits.clear();
    config.issuers[0].in_flight_max = 4;
    linked(&mut config, |link| link.connections = 2);
    let mut links = Links::of(&config);
    for number in 0..2 {
        links.up(number);
        links.grant(number, "00");
    }
    for _ in 0..4 {
        assert_eq!(links.buy("C1"), "I0 0200");
    }
    assert_eq!(links.buy("C1"), "A1 0210 91");
    assert_eq!(links.buy("C4"), "I1 0200");
    links.answer(0, 0, "51");
    assert_eq!(links.buy("C1"), "I0 0200");
    assert_eq!(links.count(Counter::RefusedIssuerWindow), 1);
}

/// C13: too many time-outs in a row, and the issuer is asked once a second until it answers.
#[test]
fn an_issuer_that_answers_nothing_is_asked_once_a_second() {
    let mut links = Links::new(|link| link.breaker_timeouts = 3);
    links.up(0);
    links.grant(0, "00");
    assert_eq!(links.buy("C1"), "I0 0200");
    assert_eq!(links.buy("C2"), "I0 0200");
    links.tick(8_050);
    assert_eq!(links.buy("C3"), "I0 0200", "two are not three");
    links.answer(2, 0, "51");
    for _ in 0..3 {
        assert_eq!(links.buy("C1"), "I0 0200");
    }
    links.tick(16_150);
    assert_eq!(links.count(Counter::CircuitOpened), 1);
    assert_eq!(links.buy("C1"), "A1 0210 91");
    assert_eq!(links.buy("C4"), "I1 0200");
    links.tick(17_200);
    assert_eq!(links.buy("C1"), "I0 0200", "the probe");
    let probe = links.world.forwarded.len() - 1;
    assert_eq!(links.buy("C1"), "A1 0210 91");
    links.tick(18_300);
    assert_eq!(links.buy("C2"), "I0 0200", "the next one");
    assert_eq!(links.buy("C2"), "A1 0210 91");
    assert_eq!(links.answer(probe, 0, "00"), ["A1 0210 00"]);
    assert_eq!(links.buy("C2"), "I0 0200");
    assert_eq!(links.count(Counter::CircuitClosed), 1);
    assert_eq!(links.count(Counter::RefusedCircuitOpen), 3);
}

/// C16, C7: an answer to what another issuer was asked is not taken.
#[test]
fn an_answer_from_another_issuer_is_never_taken() {
    let mut links = Links::new(|_| {});
    links.up(0);
    links.grant(0, "00");
    assert_eq!(links.buy("C4"), "I1 0200");
    assert_eq!(links.answer(0, 0, "00"), [""; 0]);
    assert_eq!(links.count(Counter::CrossIssuer), 1);
    assert_eq!(links.count(Counter::Unmatched), 0);
    let answer = issuer_answer(&links.world.forwarded[0].2.clone(), "00", &[]);
    let done = links.world.issuer(IssuerId(1), &answer);
    assert_eq!(links.told(done), ["A1 0210 00"]);
    assert_eq!(links.answer(0, 0, "00"), [""; 0]);
    assert_eq!(links.count(Counter::Unmatched), 1, "nobody waits any more");
}

#[test]
fn the_second_route_takes_new_requests_while_the_first_cannot_be_reached() {
    let mut config = config(1);
    config.velocity.limits.clear();
    linked(&mut config, |link| link.breaker_timeouts = 1);
    config.issuers[0].failover = Some(IssuerId(1));
    let mut links = Links::of(&config);
    assert_eq!(links.buy("C1"), "I1 0200", "down");
    links.up(0);
    assert_eq!(links.buy("C1"), "I1 0200", "not signed on");
    links.grant(0, "00");
    assert_eq!(links.buy("C2"), "I0 0200");
    links.bring(0, &managed("002", 9));
    assert_eq!(links.buy("C1"), "I1 0200", "signed off");
    links.bring(0, &managed("001", 9));
    assert_eq!(links.tick(8_100).len(), 6, "an answer and a reversal each, by the route of each");
    let reversals: Vec<u8> = links.world.forwarded.iter().skip(4).map(|it| it.0.0).collect();
    assert_eq!(reversals.iter().filter(|&&issuer| issuer == 0).count(), 1);
    assert_eq!(links.buy("C3"), "I1 0200", "the breaker is open");
    assert_eq!(links.count(Counter::FailedOver), 4);
    // Both are out of reach.
    links.world.issuer_down(IssuerId(1));
    assert_eq!(links.buy("C3"), "A1 0210 91");
    assert_eq!(links.count(Counter::RefusedCircuitOpen), 1);
}

/// G5, the issuers' part: the switch signs off from every link that is signed on.
#[test]
fn a_switch_that_leaves_signs_off() {
    let mut links = Links::new(|link| link.connections = 2);
    links.up(0);
    links.grant(0, "00");
    links.up(1);
    let world = &mut links.world;
    assert!(!world.shard.on_leaving(world.now, &mut world.outbox));
    let done = links.world.drain();
    assert_eq!(links.told(done), ["L0.0 0820 002"], "the other was never signed on");
    assert_eq!(links.buy("C1"), "A1 0210 91");
    let world = &mut links.world;
    assert!(!world.shard.on_leaving(world.now, &mut world.outbox));
    assert_eq!(links.world.drain(), []);
    assert_eq!(links.grant(0, "00"), [""; 0]);
    assert_eq!(links.count(Counter::LinkSignedOff), 1);
}
