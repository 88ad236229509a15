//! What an issuer says on its link by itself: its totals (0520) and its cut-off (0820, DE 70 201).

use crate::message::{Message, Speech};
use crate::one_bank::{OneBank, assert_counted, purchase};
use crate::process::PATIENCE;
use crate::proxy::Way;
use crate::proxy_script::Step;
use std::sync::mpsc::{Receiver, channel};
use tapswitch_protocol::Mti;

const BOUGHT: u32 = 5;

/// Says something as the issuer, and takes the answer, of which its bank does not hear.
struct Issuer {
    answers: Receiver<Message>,
    number: u32,
}

impl Issuer {
    fn of(world: &OneBank) -> Self {
        let (sender, answers) = channel();
        let script = move |frame: Vec<u8>| {
            let message = Message::from_frame(Speech::cups(), &frame);
            let is_answer = match message.mti().to_string().as_str() {
                "0530" => true,
                "0830" => message.text(70) == "201",
                _ => false,
            };
            if is_answer && sender.send(message).is_ok() {
                return Vec::new();
            }
            vec![Step::Write(frame)]
        };
        world.proxy.script(Way::There, Box::new(script));
        Self { answers, number: 0 }
    }

    fn ask(&mut self, world: &OneBank, mti: u16, fields: &[(u8, &str)]) -> Message {
        self.number += 1;
        let stan = format!("{:06}", self.number);
        let first = [(7, "0704093015"), (11, stan.as_str())];
        let fields: Vec<(u8, &str)> = first.iter().chain(fields).copied().collect();
        let message = Message::written(Speech::cups(), Mti::from_number(mti).unwrap(), &fields);
        world.proxy.say(world.proxy.made() - 1, &message.frame());
        let answer = self.answers.recv_timeout(PATIENCE).expect("it is answered");
        assert_eq!(answer.text(11), stan);
        answer
    }
}

/// `None`: the date ended meanwhile.
fn an_issuer_speaks_by_itself() -> Option<()> {
    let mut world = OneBank::start("", "");
    let requests: Vec<Message> = (1..=BOUGHT).map(purchase).collect();
    let mut issuer = Issuer::of(&world);
    let date = issuer.ask(&world, 520, &[(77, "0000000000")]).text(15);
    for request in &requests {
        assert_eq!(world.client.ask(request).text(39), "00");
    }
    let stands = world.tried + requests.len();
    let (count, amount) = (format!("{stands:010}"), format!("{:016}", 100 * stands));
    let right = [(76, count.as_str()), (88, amount.as_str())];
    let in_balance = issuer.ask(&world, 520, &right);
    let wrong = issuer.ask(&world, 520, &[(88, "0000000000000001")]);
    let refused = issuer.ask(&world, 820, &[(15, "0230"), (70, "201")]);
    let nothing_new = issuer.ask(&world, 820, &[(15, &date), (70, "201")]);
    let approved: Vec<&Message> = requests.iter().collect();
    let (ended, _) = world.stop(&approved, &["issuer{out_of_balance}"]);
    if in_balance.text(15) != date || wrong.text(15) != date || nothing_new.text(39) == "12" {
        return None;
    }
    assert_eq!((in_balance.text(39), in_balance.text(66)), ("00".into(), "1".into()));
    assert_eq!((wrong.text(39), wrong.text(66)), ("95".into(), "2".into()));
    assert_eq!(wrong.text(88), amount, "the switch's own");
    assert_eq!(refused.text(39), "12");
    assert_eq!((nothing_new.text(39), nothing_new.text(15)), ("00".into(), date));
    let expected = [
        ("issuer_totals{in_balance}", 2),
        ("issuer_totals{out_of_balance}", 1),
        ("issuer{cut_off_refused}", 1),
    ];
    assert_counted(&ended, &expected);
    Some(())
}

#[test]
fn an_issuer_is_answered_its_totals_and_its_cut_off_on_its_link() {
    // A date ends once a day: not while it is done again.
    an_issuer_speaks_by_itself().or_else(an_issuer_speaks_by_itself).expect("a date lasts longer");
}
