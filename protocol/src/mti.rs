//! The message type indicator: four digits, each with its meaning (ISO 8583:1987, 4.1).

use core::fmt;

/// Second digit: what the message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 1: authorization.
    Authorization,
    /// 2: financial transaction.
    Financial,
    /// 3: file action.
    FileAction,
    /// 4: reversal and chargeback.
    Reversal,
    /// 5: reconciliation.
    Reconciliation,
    /// 6: administrative.
    Administrative,
    /// 7: fee collection.
    FeeCollection,
    /// 8: network management.
    NetworkManagement,
    /// 0 and 9.
    Reserved,
}

/// Third digit: which step of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// 0
    Request,
    /// 1
    RequestResponse,
    /// 2
    Advice,
    /// 3
    AdviceResponse,
    /// 4
    Notification,
    /// 5
    NotificationAcknowledgement,
    /// 6
    Instruction,
    /// 7
    InstructionAcknowledgement,
    /// 8 and 9
    Reserved,
}

/// Fourth digit: who began the exchange, and whether this is a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// 0
    Acquirer,
    /// 1
    AcquirerRepeat,
    /// 2
    Issuer,
    /// 3
    IssuerRepeat,
    /// 4
    Other,
    /// 5
    OtherRepeat,
    /// 6 to 9
    Reserved,
}

/// Message type indicator, held as the number that its four digits spell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mti(u16);

impl Mti {
    /// Authorization request 0100.
    pub const AUTHORIZATION_REQUEST: Self = Self(100);
    /// Financial request 0200.
    pub const FINANCIAL_REQUEST: Self = Self(200);
    /// Financial advice 0220.
    pub const FINANCIAL_ADVICE: Self = Self(220);
    /// Reversal request 0400.
    pub const REVERSAL_REQUEST: Self = Self(400);
    /// Reversal advice 0420.
    pub const REVERSAL_ADVICE: Self = Self(420);
    /// Reversal advice response 0430.
    pub const REVERSAL_ADVICE_RESPONSE: Self = Self(430);
    /// Network management request 0800.
    pub const NETWORK_REQUEST: Self = Self(800);
    /// Network management advice 0820.
    pub const NETWORK_ADVICE: Self = Self(820);

    /// From four ASCII digits.
    #[inline]
    #[must_use]
    pub fn from_ascii(bytes: [u8; 4]) -> Option<Self> {
        let mut number = 0u16;
        for byte in bytes {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            number = number * 10 + u16::from(digit);
        }
        Some(Self(number))
    }

    /// From two bytes of packed decimal.
    #[inline]
    #[must_use]
    pub fn from_bcd(bytes: [u8; 2]) -> Option<Self> {
        let [high, low] = bytes;
        let digit = |nibble: u8| b'0' + (nibble & 0x0F);
        let ascii = [digit(high >> 4), digit(high), digit(low >> 4), digit(low)];
        Self::from_ascii(ascii)
    }

    /// From the number that the digits spell, below 10,000.
    #[must_use]
    pub const fn from_number(number: u16) -> Option<Self> {
        if number < 10_000 { Some(Self(number)) } else { None }
    }

    /// The number that the digits spell, below 10,000.
    #[inline]
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The four ASCII digits.
    #[inline]
    #[must_use]
    pub const fn to_ascii(self) -> [u8; 4] {
        let number = self.0;
        let digits = [number / 1000, number / 100 % 10, number / 10 % 10, number % 10];
        let [a, b, c, d] = digits;
        [b'0' + a as u8, b'0' + b as u8, b'0' + c as u8, b'0' + d as u8]
    }

    /// First digit: 0 for the 1987 edition, 1 for 1993, 2 for 2003.
    #[inline]
    #[must_use]
    pub const fn version(self) -> u8 {
        (self.0 / 1000) as u8
    }

    /// Second digit.
    #[inline]
    #[must_use]
    pub const fn class(self) -> Class {
        match self.0 / 100 % 10 {
            1 => Class::Authorization,
            2 => Class::Financial,
            3 => Class::FileAction,
            4 => Class::Reversal,
            5 => Class::Reconciliation,
            6 => Class::Administrative,
            7 => Class::FeeCollection,
            8 => Class::NetworkManagement,
            _ => Class::Reserved,
        }
    }

    /// Third digit.
    #[inline]
    #[must_use]
    pub const fn function(self) -> Function {
        match self.0 / 10 % 10 {
            0 => Function::Request,
            1 => Function::RequestResponse,
            2 => Function::Advice,
            3 => Function::AdviceResponse,
            4 => Function::Notification,
            5 => Function::NotificationAcknowledgement,
            6 => Function::Instruction,
            7 => Function::InstructionAcknowledgement,
            _ => Function::Reserved,
        }
    }

    /// Fourth digit.
    #[inline]
    #[must_use]
    pub const fn origin(self) -> Origin {
        match self.0 % 10 {
            0 => Origin::Acquirer,
            1 => Origin::AcquirerRepeat,
            2 => Origin::Issuer,
            3 => Origin::IssuerRepeat,
            4 => Origin::Other,
            5 => Origin::OtherRepeat,
            _ => Origin::Reserved,
        }
    }

    /// Whether the third digit is even: the sender expects an answer.
    #[inline]
    #[must_use]
    pub const fn expects_response(self) -> bool {
        (self.0 / 10).is_multiple_of(2)
    }

    /// The same type with the origin of a first transmission: 1 to 0, 3 to 2, 5 to 4.
    #[inline]
    #[must_use]
    pub const fn without_repeat(self) -> Self {
        match self.0 % 10 {
            1 | 3 | 5 => Self(self.0 - 1),
            _ => self,
        }
    }

    /// The same type with the origin of a repeat: 0 to 1, 2 to 3, 4 to 5.
    #[inline]
    #[must_use]
    pub const fn repeated(self) -> Self {
        match self.0 % 10 {
            0 | 2 | 4 => Self(self.0 + 1),
            _ => self,
        }
    }

    /// The response to this type: third digit plus 1, the repeat taken off the fourth. `None` when
    /// the third digit is odd, which is a response already.
    #[inline]
    #[must_use]
    pub const fn response(self) -> Option<Self> {
        if self.expects_response() { Some(Self(self.without_repeat().0 + 10)) } else { None }
    }
}

impl fmt::Display for Mti {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_adds_ten_and_drops_the_repeat() {
        let cases = [(200, 210), (201, 210), (203, 212), (420, 430), (421, 430), (820, 830)];
        for (request, response) in cases {
            let mti = Mti::from_number(request).unwrap();
            assert_eq!(mti.response().unwrap().number(), response);
        }
        assert_eq!(Mti::from_ascii(*b"0210").unwrap().response(), None);
        assert_eq!(Mti::from_ascii(*b"02 0"), None);
        assert_eq!(Mti::from_bcd([0x08, 0x10]).unwrap().to_string(), "0810");
        assert_eq!(Mti::from_bcd([0x0A, 0x10]), None);
    }
}
