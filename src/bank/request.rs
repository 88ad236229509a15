//! A request as a bank understands it: read once from the message, typed, without its bytes.
//!
//! Not here: whether it is granted.

use super::pan_key::PanKey;
use super::recent::TraceKey;
use super::reference::Reference;
use tapswitch_protocol::tlv::TlvReader;
use tapswitch_protocol::{
    CurrencyCode, Function, MessageView, Mti, MtiClass, Pan, PanError, ProcessingCode, ResponseCode,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// Purchase or cash, decided now. With an approval code it completes a pre-authorization.
    Debit,
    /// Pre-authorization, or the first message of a dual-message purchase.
    Hold,
    /// Purchase or completion that has happened already: it is taken.
    DebitAdvice,
    /// Refund, taken likewise.
    Refund,
    /// Void of a debit or a hold.
    Void,
    /// Balance inquiry.
    Balance,
    /// Account verification.
    Verification,
    /// 0620: something about a card that moves nothing.
    Notice,
    /// 0400, which may be refused, or 0420, which may not.
    Reversal {
        /// 0420.
        advice: bool,
    },
}

impl Operation {
    /// Whether the sender waits for a decision: advices and reversals only for an acknowledgement.
    #[inline]
    pub(super) const fn is_request(self) -> bool {
        match self {
            Self::Debit | Self::Hold | Self::Void | Self::Balance | Self::Verification => true,
            Self::DebitAdvice | Self::Refund | Self::Notice | Self::Reversal { .. } => false,
        }
    }

    #[inline]
    const fn moves_money(self) -> bool {
        match self {
            Self::Debit | Self::Hold | Self::DebitAdvice | Self::Refund | Self::Void => true,
            Self::Balance | Self::Verification | Self::Notice | Self::Reversal { .. } => false,
        }
    }
}

/// A request that can be decided.
#[derive(Clone, Copy)]
pub(super) struct BankRequest {
    pub(super) operation: Operation,
    pub(super) pan: Pan,
    pub(super) key: TraceKey,
    /// Of the account's currency; 0 where no money moves.
    pub(super) amount: u64,
    /// What names it, or a reversal's original, whatever its trace number and time.
    pub(super) reference: Reference,
    /// DE 38.
    pub(super) approval: Option<u32>,
    /// The transaction that DE 90 names, on the same card.
    pub(super) original: Option<TraceKey>,
    /// What of a reversal's original stands, where that is not nothing.
    pub(super) left: Option<u64>,
    pub(super) has_pin: bool,
    /// A chip's cryptogram, which wants an answer.
    pub(super) cryptogram: Option<u64>,
}

/// The currency of all accounts.
const ACCOUNT_CURRENCY: CurrencyCode = CurrencyCode::CNY;

impl BankRequest {
    /// Reads a message.
    ///
    /// # Errors
    /// The code to refuse it with.
    #[inline]
    pub(super) fn read(view: &MessageView<'_>) -> Result<Self, ResponseCode> {
        let operation = operation(view)?;
        let pan = view.pan().map_err(|error| match error {
            PanError::Missing | PanError::Conflict => ResponseCode::FORMAT_ERROR,
            PanError::Length => ResponseCode::INVALID_CARD,
        })?;
        let stan = view.stan().ok_or(ResponseCode::FORMAT_ERROR)?.0;
        let key = TraceKey { pan: PanKey::new(&pan), stan, time: trace_time(view) };
        Ok(Self {
            operation,
            pan,
            key,
            amount: if operation.moves_money() { amount(view)? } else { 0 },
            reference: Reference::read(view, reference_number(view), class(view)),
            approval: view.raw(38).and_then(approval_number),
            original: original(view, key),
            left: match operation {
                Operation::Reversal { .. } => replacement_amount(view).filter(|&left| left > 0),
                _ => None,
            },
            has_pin: view.has(52) || has_sm4_pin(view),
            cryptogram: request_cryptogram(view),
        })
    }
}

/// What MTI and processing code ask for.
#[inline]
fn operation(view: &MessageView<'_>) -> Result<Operation, ResponseCode> {
    let mti = view.mti().without_repeat();
    if mti.class() == MtiClass::Administrative && mti.function() == Function::Advice {
        return Ok(Operation::Notice);
    }
    match mti {
        Mti::REVERSAL_REQUEST => return Ok(Operation::Reversal { advice: false }),
        Mti::REVERSAL_ADVICE => return Ok(Operation::Reversal { advice: true }),
        Mti::AUTHORIZATION_REQUEST | Mti::FINANCIAL_REQUEST | Mti::FINANCIAL_ADVICE => {}
        _ => return Err(ResponseCode::INVALID_TRANSACTION),
    }
    let code = view.processing_code().ok_or(ResponseCode::FORMAT_ERROR)?;
    let advice = mti == Mti::FINANCIAL_ADVICE;
    let authorization = mti.class() == MtiClass::Authorization;
    match code.transaction_type() {
        ProcessingCode::PURCHASE | ProcessingCode::CASH | CASH_BACK if advice => {
            Ok(Operation::DebitAdvice)
        }
        ProcessingCode::PURCHASE | ProcessingCode::CASH | CASH_BACK if authorization => {
            Ok(Operation::Hold)
        }
        ProcessingCode::PURCHASE | ProcessingCode::CASH | CASH_BACK => Ok(Operation::Debit),
        ProcessingCode::PRE_AUTHORIZATION if authorization => Ok(Operation::Hold),
        ProcessingCode::REFUND_OR_VOID if advice => Ok(Operation::Refund),
        ProcessingCode::REFUND_OR_VOID => Ok(Operation::Void),
        ProcessingCode::AVAILABLE_BALANCE | ProcessingCode::BALANCE if !advice => {
            Ok(Operation::Balance)
        }
        ProcessingCode::ACCOUNT_VERIFICATION if !advice => Ok(Operation::Verification),
        _ => Err(ResponseCode::INVALID_TRANSACTION),
    }
}

/// Purchase with cashback.
const CASH_BACK: u8 = 9;

/// DE 7; where a dialect has none, DE 13 and DE 12, which have the same form.
#[inline]
fn trace_time(view: &MessageView<'_>) -> u32 {
    view.transmission_time().map_or_else(|| local_time(view), |time| time.0)
}

/// MMDDhhmmss of DE 13 and DE 12 as a number; 0 when it is no date.
fn local_time(view: &MessageView<'_>) -> u32 {
    let (date, time) = (view.number(13).unwrap_or(0), view.number(12).unwrap_or(0));
    u32::try_from(date * 1_000_000 + time).unwrap_or(0)
}

/// The amount in the account's currency: DE 4, or DE 6 when DE 51 says that it is.
#[inline]
fn amount(view: &MessageView<'_>) -> Result<u64, ResponseCode> {
    let foreign = view.has(49) && view.currency() != Some(ACCOUNT_CURRENCY);
    let amount = if foreign {
        let billing = view.number(51) == Some(u64::from(ACCOUNT_CURRENCY.0));
        billing.then(|| view.number(6)).flatten().ok_or(ResponseCode::NOT_PERMITTED)?
    } else {
        view.amount().ok_or(ResponseCode::FORMAT_ERROR)?.0
    };
    if amount == 0 { Err(ResponseCode::INVALID_AMOUNT) } else { Ok(amount) }
}

/// DE 37. The switch rewrites DE 11 and DE 7, so what stands for an absent one is DE 13, DE 12
/// and two zeros.
#[inline]
fn reference_number(view: &MessageView<'_>) -> [u8; 12] {
    view.rrn().map_or_else(
        || {
            let mut text = [b'0'; 12];
            let mut scratch = [0; 20];
            for (field, place) in [(13, 0..4), (12, 4..10)] {
                if let Some(digits) = view.text(field, &mut scratch)
                    && let Some(out) = text.get_mut(place)
                    && out.len() == digits.len()
                {
                    out.copy_from_slice(digits);
                }
            }
            text
        },
        |rrn| rrn.0,
    )
}

/// The class of the transaction, a reversal's of its original: in DE 90, if it says so.
#[inline]
fn class(view: &MessageView<'_>) -> Option<MtiClass> {
    let mti = view.mti();
    if mti.class() != MtiClass::Reversal {
        return Some(mti.class());
    }
    let mut scratch = [0; 42];
    let digits = view.text(90, &mut scratch)?.first_chunk()?;
    Mti::from_ascii(*digits).map(Mti::class)
}

/// The transaction that DE 90 names: MTI, STAN, DE 7, and two institutions.
fn original(view: &MessageView<'_>, key: TraceKey) -> Option<TraceKey> {
    let mut scratch = [0; 42];
    let text = view.text(90, &mut scratch)?;
    let number = |range| {
        let digits: &[u8] = text.get(range)?;
        digits.iter().try_fold(0u64, |number, &digit| {
            digit.is_ascii_digit().then(|| number * 10 + u64::from(digit - b'0'))
        })
    };
    let stan = u32::try_from(number(4..10)?).ok()?;
    let time = u32::try_from(number(10..20)?).ok()?;
    Some(TraceKey { stan, time, ..key })
}

/// DE 95, where the dialect has it: the transaction's actual amount, in its first twelve digits.
fn replacement_amount(view: &MessageView<'_>) -> Option<u64> {
    let mut scratch = [0; 42];
    let digits = view.text(95, &mut scratch)?.get(..12)?;
    core::str::from_utf8(digits).ok()?.parse().ok()
}

/// UnionPay carries a PIN block enciphered with SM4 in DE 63: usages of two letters, three digits
/// of length, and data.
fn has_sm4_pin(view: &MessageView<'_>) -> bool {
    let mut rest = view.raw(63).unwrap_or_default();
    while let Some((&[a, b, hundreds, tens, ones], tail)) = rest.split_first_chunk::<5>() {
        if [a, b] == *b"SM" {
            return true;
        }
        let digit = |byte: u8| usize::from(byte.wrapping_sub(b'0').min(9));
        let length = digit(hundreds) * 100 + digit(tens) * 10 + digit(ones);
        rest = tail.get(length..).unwrap_or_default();
    }
    false
}

/// The cryptogram of a chip's request, tag 9F26 of DE 55.
#[inline]
fn request_cryptogram(view: &MessageView<'_>) -> Option<u64> {
    TlvReader::new(view.raw(55)?)
        .map_while(Result::ok)
        .find(|object| object.tag == 0x9F26)
        .and_then(|object| object.value.try_into().ok())
        .map(u64::from_be_bytes)
}

/// DE 38 as the number that its six letters and digits spell in base 36.
pub(super) fn approval_number(text: &[u8]) -> Option<u32> {
    let text: &[u8; 6] = text.try_into().ok()?;
    text.iter().try_fold(0u32, |number, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'Z' => byte - b'A' + 10,
            _ => return None,
        };
        // 36^6 is below 2^32.
        Some(number * 36 + u32::from(digit))
    })
}

/// DE 38 from its number.
pub(super) fn approval_text(mut number: u32) -> [u8; 6] {
    let mut text = [b'0'; 6];
    for byte in text.iter_mut().rev() {
        // Below 36.
        let digit = (number % 36) as u8;
        *byte = if digit < 10 { b'0' + digit } else { b'A' + (digit - 10) };
        number /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn approval_codes_round_trip() {
        for number in [0, 1, 35, 36, 123_456_789, 36u32.pow(5) * 35, 2_176_782_335] {
            let text = approval_text(number);
            assert_eq!(approval_number(&text), Some(number), "{number}");
        }
        assert_eq!(approval_text(36u32.pow(5) * 10 + 1), *b"A00001");
        for wrong in [&b"A0000"[..], b"a00001", b"A0000 ", b"A000001"] {
            assert_eq!(approval_number(wrong), None);
        }
    }
}
