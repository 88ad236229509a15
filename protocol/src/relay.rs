//! Messages made from other messages of the same dialect: fields are copied bit for bit.

use crate::error::WriteError;
use crate::field::FieldSet;
use crate::mti::Mti;
use crate::view::MessageView;
use crate::writer::MessageWriter;

/// Fields in their wire form (length prefix included) beside or instead of copied ones.
#[derive(Clone, Copy)]
pub struct WireField<'a> {
    /// Data element.
    pub field: u8,
    /// Its wire form.
    pub wire: &'a [u8],
}

/// Writes a message of type `mti` with the fields of `first` that are in `from_first`, those of
/// `second` that are in `from_second`, and `own`; where several have a field, `own` wins, then
/// `second`. Returns the bytes written.
///
/// `own` is in ascending order, each field once.
///
/// # Errors
/// See [`WriteError`].
#[inline]
pub fn relay(
    mti: Mti,
    (first, from_first): (&MessageView<'_>, FieldSet),
    (second, from_second): (&MessageView<'_>, FieldSet),
    own: &[WireField<'_>],
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let mut writer = MessageWriter::new(first.dialect(), mti, out)?;
    let owned = own.iter().fold(FieldSet::EMPTY, |set, own| set.with(own.field));
    let seconds = second.present().and(from_second).minus(owned);
    let firsts = first.present().and(from_first).minus(owned).minus(seconds);
    let mut rest = own.iter();
    for field in owned.or(seconds).or(firsts) {
        if owned.has(field) {
            let own = rest.next().ok_or(WriteError::OutOfOrder(field))?;
            writer.put_wire(own.field, own.wire)?;
        } else if seconds.has(field) {
            writer.copy(field, second)?;
        } else {
            writer.copy(field, first)?;
        }
    }
    writer.finish()
}
