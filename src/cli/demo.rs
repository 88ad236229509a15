//! Arguments of `tapswitch demo`.

use clap::Args;
use core::str::FromStr;
use std::path::PathBuf;

/// What `demo` can be told.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// How long requests are sent
    #[arg(long, value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Requests a second; `max` sends as soon as there is room (closed loop)
    #[arg(long, value_name = "R|max", default_value = "20000")]
    pub rate: AskedRate,
    /// Write the report as JSON to this file; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// Connections to the switch
    #[arg(long, value_name = "C", default_value_t = 16)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=8_192))]
    pub connections: u32,
    /// Unanswered requests that a connection may have
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub in_flight: u32,
    /// Configuration file; listeners move to free ports. Without it the shipped one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How the load speaks; the configuration must have an acquirer of this dialect
    #[arg(long, value_name = "D", default_value = "cups", value_parser = ["cups", "iso87-ascii"])]
    pub dialect: String,
    /// Fixes cards, amounts and arrivals
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// How fast the load is asked to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AskedRate {
    /// Open loop: so many requests a second, however fast they are answered.
    PerSecond(f64),
    /// Closed loop: as soon as there is room.
    Max,
}

/// Most requests a second that can be asked for.
const RATE_MAX: f64 = 1e7;

impl FromStr for AskedRate {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<f64>() {
            _ if text == "max" => Ok(Self::Max),
            Ok(rate) if rate > 0.0 && rate <= RATE_MAX => Ok(Self::PerSecond(rate)),
            _ => Err("a rate is a number above 0 and at most 10000000, or `max`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    #[test]
    fn rates_are_numbers_or_max() {
        assert_eq!("max".parse(), Ok(AskedRate::Max));
        assert_eq!("1500.5".parse(), Ok(AskedRate::PerSecond(1_500.5)));
        for wrong in ["0", "-1", "NaN", "inf", "1e8", "fast", ""] {
            assert!(wrong.parse::<AskedRate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_argument_is_read() {
        let words = "demo --seconds 3 --rate max --json - --connections 2 --in-flight 5 \
                     --config a.toml --dialect iso87-ascii --seed 7";
        let Line { demo } = Line::try_parse_from(words.split_whitespace()).ok().unwrap();
        assert_eq!((demo.seconds, demo.rate, demo.seed), (3, AskedRate::Max, 7));
        assert_eq!((demo.connections, demo.in_flight), (2, 5));
        assert_eq!(demo.dialect, "iso87-ascii");
        assert_eq!(demo.json, Some(PathBuf::from("-")));
        assert_eq!(demo.config, Some(PathBuf::from("a.toml")));
        assert!(Line::try_parse_from(["demo", "--dialect", "unionpay-pos"]).is_err());
        assert!(Line::try_parse_from(["demo", "--in-flight", "0"]).is_err());
    }
}
