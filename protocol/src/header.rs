//! Headers between a frame's length and its message: the 46-byte CUPS header and the terminal's
//! TPDU with its 6-byte header. A response carries the request's header with its addresses swapped.

/// Bytes of the CUPS header.
pub const CUPS_HEADER_BYTES: usize = 46;
/// Bytes of a TPDU and the UnionPay terminal header after it.
pub const TPDU_HEADER_BYTES: usize = 11;

const DESTINATION: core::ops::Range<usize> = 6..17;
const SOURCE: core::ops::Range<usize> = 17..28;
const REJECT_CODE: core::ops::Range<usize> = 41..46;

/// A CUPS header (facts: three public code bases agree, checked on recorded bytes).
#[derive(Clone, Copy)]
pub struct CupsHeader<'a>(&'a [u8; CUPS_HEADER_BYTES]);

impl<'a> CupsHeader<'a> {
    /// From its bytes; `None` unless the first one states 46.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let header: &[u8; CUPS_HEADER_BYTES] = bytes.try_into().ok()?;
        (usize::from(header[0]) == CUPS_HEADER_BYTES).then_some(Self(header))
    }

    /// Where the message goes: 11 characters, filled with spaces.
    #[must_use]
    pub fn destination(&self) -> &'a [u8] {
        self.0.get(DESTINATION).unwrap_or_default()
    }

    /// Where the message comes from.
    #[must_use]
    pub fn source(&self) -> &'a [u8] {
        self.0.get(SOURCE).unwrap_or_default()
    }

    /// Whether the network refused the message and sends it back unread.
    #[must_use]
    pub fn is_rejected(&self) -> bool {
        self.0.get(REJECT_CODE) != Some(b"00000")
    }
}

/// Builds the header of a first message: version 2, given addresses, nothing rejected. The total
/// length is written by the frame.
#[must_use]
pub fn cups_header(destination: &[u8; 11], source: &[u8; 11]) -> [u8; CUPS_HEADER_BYTES] {
    let mut header = [b'0'; CUPS_HEADER_BYTES];
    header[0] = 46;
    header[1] = 0x02;
    header[DESTINATION].copy_from_slice(destination);
    header[SOURCE].copy_from_slice(source);
    header[28..32].fill(0);
    header[40] = 0;
    header
}

/// Turns a request's CUPS header into its response's: addresses swapped, reject code 00000.
pub(crate) fn swap_cups(header: &mut [u8]) {
    let Some(header) = header.first_chunk_mut::<CUPS_HEADER_BYTES>() else { return };
    let (head, tail) = header.split_at_mut(SOURCE.start);
    if let (Some(destination), Some(source)) = (head.get_mut(DESTINATION), tail.get_mut(..11)) {
        destination.swap_with_slice(source);
    }
    header[REJECT_CODE].fill(b'0');
}

/// Turns a request's TPDU into its response's: destination and source swapped.
pub(crate) fn swap_tpdu(header: &mut [u8]) {
    if let Some([_, a, b, c, d]) = header.first_chunk_mut::<5>() {
        core::mem::swap(a, c);
        core::mem::swap(b, d);
    }
}
