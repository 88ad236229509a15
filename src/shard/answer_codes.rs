//! Answers counted by their code (DE 39: two digits or capital letters).

use tapswitch_protocol::ResponseCode;

/// What a character of a code can be.
const CHARACTERS: usize = 36;
/// Every code, and one place for what cannot be one.
const CODES: usize = CHARACTERS * CHARACTERS + 1;

/// How many answers there were with each code.
#[derive(Clone)]
pub struct AnswerCodes([u64; CODES]);

impl Default for AnswerCodes {
    fn default() -> Self {
        Self([0; CODES])
    }
}

impl AnswerCodes {
    /// One more answer with this code.
    #[inline]
    pub fn add(&mut self, code: ResponseCode) {
        let [first, second] = *code.bytes();
        let place = match (digit(first), digit(second)) {
            (Some(first), Some(second)) => first * CHARACTERS + second,
            _ => CODES - 1,
        };
        if let Some(count) = self.0.get_mut(place) {
            *count += 1;
        }
    }

    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Takes over another's.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.0.copy_from_slice(&other.0);
    }

    /// Codes that were answered, and how often. What cannot be a code is shown as `??`.
    pub fn iter(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        self.0.iter().enumerate().filter(|(_, count)| **count > 0).map(|(place, count)| {
            let text = match place {
                place if place == CODES - 1 => "??".to_owned(),
                place => [place / CHARACTERS, place % CHARACTERS].map(character).iter().collect(),
            };
            (text, *count)
        })
    }
}

#[inline]
fn digit(byte: u8) -> Option<usize> {
    match byte {
        b'0'..=b'9' => Some(usize::from(byte - b'0')),
        b'A'..=b'Z' => Some(usize::from(byte - b'A') + 10),
        _ => None,
    }
}

fn character(digit: usize) -> char {
    u32::try_from(digit)
        .ok()
        .and_then(|digit| char::from_digit(digit, 36))
        .unwrap_or('?')
        .to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_counted_by_itself() {
        let mut codes = AnswerCodes::default();
        for code in [b"00", b"00", b"A0", b"9Z", b"ZZ", b"a0", b"61"] {
            codes.add(ResponseCode::new(*code));
        }
        let mut other = AnswerCodes::default();
        other.copy_from(&codes);
        codes.merge(&other);
        let counted: Vec<(String, u64)> = codes.iter().collect();
        let expected = [("00", 4), ("61", 2), ("9Z", 2), ("A0", 2), ("ZZ", 2), ("??", 2)];
        assert_eq!(counted, expected.map(|(code, count)| (code.to_owned(), count)));
    }
}
