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
    let owned = own.iter().fold(FieldSet::EMPTY, |set, own| set.with(own.field));
    let seconds = second.present().and(from_second).minus(owned);
    let between = owned.or(seconds);
    let mut firsts = first.present().and(from_first).minus(between);
    let has_secondary = firsts.or(between).reaches_above_64();
    let mut writer = MessageWriter::with_bitmaps(first.dialect(), mti, has_secondary, out)?;
    let mut rest = own.iter();
    for field in between {
        // What stands side by side in the first message is copied at once.
        let before = firsts.below(field);
        writer.copy_all(before, first)?;
        firsts = firsts.minus(before);
        if owned.has(field) {
            let own = rest.next().ok_or(WriteError::OutOfOrder(field))?;
            writer.put_wire(own.field, own.wire)?;
        } else {
            writer.copy(field, second)?;
        }
    }
    writer.copy_all(firsts, first)?;
    writer.finish()
}
