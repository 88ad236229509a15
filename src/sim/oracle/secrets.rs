//! No card number lies in a journal: neither as characters nor packed.

/// What card numbers of this world begin with.
pub(in crate::sim) struct SecretsWatch {
    patterns: Vec<Vec<u8>>,
}

impl SecretsWatch {
    /// `beginnings`: the digits that all cards of an issuer have in common.
    pub(in crate::sim) fn new(beginnings: Vec<Vec<u8>>) -> Self {
        let mut patterns = Vec::new();
        for digits in beginnings {
            let packed = digits.chunks_exact(2).map(|pair| (pair[0] & 15) << 4 | (pair[1] & 15));
            patterns.push(packed.collect());
            patterns.push(digits);
        }
        Self { patterns }
    }

    /// Says so if a card number is in these bytes.
    pub(in crate::sim) fn found_in(&self, bytes: &[u8]) -> Option<String> {
        let is_first = |byte: u8| self.patterns.iter().any(|pattern| pattern[0] == byte);
        let found = bytes.iter().enumerate().any(|(at, byte)| {
            matches!(byte, b'6' | 0x60..=0x6F)
                && is_first(*byte)
                && self.patterns.iter().any(|pattern| bytes[at..].starts_with(pattern))
        });
        found.then(|| "a record holds the beginning of a card number".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_in_both_forms() {
        let watch = SecretsWatch::new(vec![b"62284800000".to_vec()]);
        assert!(watch.found_in(b"abc6228480000000000011").is_some());
        assert!(watch.found_in(&[1, 0x62, 0x28, 0x48, 0, 0, 9]).is_some());
        assert!(watch.found_in(b"6228").is_none());
        assert!(watch.found_in(b"622848123456").is_none());
    }
}
