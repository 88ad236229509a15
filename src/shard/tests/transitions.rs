//! Every state and event, as a table: a change of the life of a transaction changes this test.

use crate::shard::authorization::{EVENTS, Hold, STATES, step};

const TABLE: &str = "\
Unknown   Request        -> InFlight  Decide          Keep
Unknown   Conflict       -> Unknown   None            Keep
Unknown   IssuerApproves -> Unknown   None            Keep
Unknown   IssuerDeclines -> Unknown   None            Keep
Unknown   IssuerGarbles  -> Unknown   None            Keep
Unknown   Deadline       -> Unknown   None            Keep
Unknown   Reversal       -> Reversed  UnknownOriginal Keep    owes a reversal
Unknown   Undeliverable  -> Unknown   None            Keep
InFlight  Request        -> InFlight  Absorb          Keep
InFlight  Conflict       -> InFlight  Conflict        Keep
InFlight  IssuerApproves -> Approved  Issuer          Keep
InFlight  IssuerDeclines -> Declined  Issuer          Release
InFlight  IssuerGarbles  -> Reversed  MisEchoed       Release owes a reversal
InFlight  Deadline       -> Reversed  TimeOut         Release owes a reversal
InFlight  Reversal       -> Reversed  Accept          Release owes a reversal
InFlight  Undeliverable  -> InFlight  None            Keep
Approved  Request        -> Approved  Replay          Keep
Approved  Conflict       -> Approved  Conflict        Keep
Approved  IssuerApproves -> Approved  None            Keep
Approved  IssuerDeclines -> Approved  None            Keep
Approved  IssuerGarbles  -> Approved  None            Keep
Approved  Deadline       -> Approved  None            Keep
Approved  Reversal       -> Reversed  Accept          Release owes a reversal
Approved  Undeliverable  -> Reversed  None            Release owes a reversal
Declined  Request        -> Declined  Replay          Keep
Declined  Conflict       -> Declined  Conflict        Keep
Declined  IssuerApproves -> Declined  None            Keep
Declined  IssuerDeclines -> Declined  None            Keep
Declined  IssuerGarbles  -> Declined  None            Keep
Declined  Deadline       -> Declined  None            Keep
Declined  Reversal       -> Declined  Accept          Keep
Declined  Undeliverable  -> Declined  None            Keep
Reversed  Request        -> Reversed  Replay          Keep
Reversed  Conflict       -> Reversed  Conflict        Keep
Reversed  IssuerApproves -> Reversed  None            Keep
Reversed  IssuerDeclines -> Reversed  None            Keep
Reversed  IssuerGarbles  -> Reversed  None            Keep
Reversed  Deadline       -> Reversed  None            Keep
Reversed  Reversal       -> Reversed  Accept          Keep
Reversed  Undeliverable  -> Reversed  None            Keep
";

#[test]
fn the_table_is_as_written() {
    let mut lines = String::new();
    for state in STATES {
        for event in EVENTS {
            let step = step(state, event);
            let (state, event) = (format!("{state:?}"), format!("{event:?}"));
            let (next, reply) = (format!("{:?}", step.next), format!("{:?}", step.reply));
            let hold = format!("{:?}", step.hold);
            let owes = if step.owe_reversal { "owes a reversal" } else { "" };
            let line = format!("{state:9} {event:14} -> {next:9} {reply:15} {hold:7} {owes}");
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
    }
    assert_eq!(lines, TABLE);
}

#[test]
fn whatever_is_released_ends_and_only_once() {
    for state in STATES {
        for event in EVENTS {
            let first = step(state, event);
            if first.hold == Hold::Release {
                for event in EVENTS {
                    assert_eq!(step(first.next, event).hold, Hold::Keep, "{state:?} {event:?}");
                }
            }
        }
    }
}
