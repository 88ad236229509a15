//! A bank's own network management: it signs on where it has connected, and off before it ends.
//!
//! Not here: its answers to what the switch asks (`issuing_bank`), connections (`io`).

use super::response::month_and_day;
use tapswitch_protocol::{Dialect, MessageWriter, Mti, Stan};

const MS_PER_DAY: u64 = 86_400_000;
/// The bank as institution, DE 33: what headers of the link call it too.
const BANK_INSTITUTION: &[u8] = b"00010000";

/// What a bank says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionOrder {
    /// It wants requests.
    SignOn,
    /// It wants no more.
    SignOff,
}

/// Writes it at this moment under this number: 0820 with the institution in DE 33 where the dialect is
/// UnionPay's, else 0800. `None`: `out` is too small, or the dialect lacks an element.
pub fn write_session(
    dialect: &'static Dialect,
    (wall_ms, number): (u64, Stan),
    order: SessionOrder,
    out: &mut [u8],
) -> Option<usize> {
    let is_unionpay = dialect.name() == Dialect::cups().name();
    let mti = if is_unionpay { Mti::NETWORK_ADVICE } else { Mti::NETWORK_REQUEST };
    let second = wall_ms % MS_PER_DAY / 1_000;
    let clock = second / 3_600 * 10_000 + second / 60 % 60 * 100 + second % 60;
    let time = u64::from(month_and_day(wall_ms)) * 1_000_000 + clock;
    let mut writer = MessageWriter::new(dialect, mti, out).ok()?;
    writer.put(7, format!("{time:010}").as_bytes()).ok()?;
    writer.put(11, format!("{:06}", number.0).as_bytes()).ok()?;
    if is_unionpay {
        writer.put(33, BANK_INSTITUTION).ok()?;
    }
    let digits = match order {
        SessionOrder::SignOn => b"001",
        SessionOrder::SignOff => b"002",
    };
    writer.put(70, digits).ok()?;
    writer.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tapswitch_protocol::FieldTable;

    #[test]
    fn a_bank_signs_on_as_its_dialect_has_it() {
        // 2026-03-01 00:00:59 UTC.
        let at_ms = 1_772_323_259_000;
        for (dialect, mti, institution) in
            [(Dialect::cups(), 820, Some("00010000")), (Dialect::iso87_ascii(), 800, None)]
        {
            let mut out = [0; 128];
            let numbers = (at_ms, Stan(42));
            let bytes = write_session(dialect, numbers, SessionOrder::SignOff, &mut out).unwrap();
            let mut table = FieldTable::default();
            let view = dialect.parse(&out[..bytes], &mut table).unwrap();
            assert_eq!(
                (view.mti().number(), view.stan(), view.number(70)),
                (mti, Some(Stan(42)), Some(2))
            );
            let mut scratch = [0; 20];
            let text = |field, scratch: &mut [u8; 20]| {
                view.text(field, scratch).map(|it| String::from_utf8(it.to_vec()).unwrap())
            };
            assert_eq!(text(7, &mut scratch).as_deref(), Some("0301000059"));
            assert_eq!(text(33, &mut scratch).as_deref(), institution);
        }
    }
}
