//! Wire formats of ISO 8583: bytes to fields and back.
//!
//! Pure: no I/O, no clock, no allocation while parsing or writing. A [`Dialect`] is a table loaded
//! at start; [`Dialect::parse`] is one walk over it that validates lengths and the classes `n` and
//! `z` and records where each field lies; after it returns, no accessor of [`MessageView`] can
//! fail. [`MessageWriter`] writes any message, [`respond`] writes the response to a request,
//! [`describe`] shows a message to people (and allocates).
//!
//! With the feature `crypto` it also verifies the cryptograms of chip cards (`emv`); without it the
//! crate depends on nothing.
//!
//! Not here: decisions (which code to answer), sockets, where keys come from, PINs and message
//! authentication codes, configuration files.

mod digits;
mod row;
mod walk;

pub mod answer;
pub mod chip;
pub mod describe;
pub mod dialect;
#[cfg(feature = "crypto")]
pub mod emv;
pub mod error;
pub mod field;
pub mod frame;
pub mod header;
pub mod mti;
pub mod pan;
pub mod par;
pub mod relay;
pub mod response_code;
pub mod tlv;
pub mod token;
pub mod usage;
pub mod values;
pub mod view;
pub mod writer;

pub use answer::{Addition, respond};
pub use dialect::{BitmapEncoding, Dialect, DialectError, TextEncoding};
pub use error::{FormatError, FormatReason, WriteError};
pub use field::{Class, FieldSet, FieldSpec, Packing};
pub use frame::{FrameError, FrameStep, Framing};
pub use mti::{Class as MtiClass, Function, Mti, Origin};
pub use pan::{MaskedPan, Pan, PanError};
pub use par::{Par, ParError};
pub use relay::{WireField, relay};
pub use response_code::ResponseCode;
pub use token::{Token, TokenData, TokenDataError, TokenDetails, TokenRequestor};
pub use values::{AmountMinor, CurrencyCode, ProcessingCode, Rrn, Stan, TransmissionTime};
pub use view::{FieldTable, MessageView};
pub use writer::MessageWriter;
