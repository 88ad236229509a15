//! `loadgen calibrate`: measures a bare echo and shows the figures.

use super::{NOT_REACHED, USAGE, allow_connections, fail, show};
use std::process::ExitCode;
use tapswitch_loadgen::{CalibrateError, CalibratePlan, Engine, calibrate};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Connections.
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Unanswered requests that a connection has.
    #[arg(long, default_value_t = 64)]
    in_flight: u32,
    /// How long.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Bytes of a request's frame: by default those of a phone tap in CUPS.
    #[arg(long, default_value_t = 473)]
    request_bytes: u16,
    /// Bytes of a response's frame.
    #[arg(long, default_value_t = 327)]
    response_bytes: u16,
    /// Keep the server on this core.
    #[arg(long)]
    server_core: Option<usize>,
    /// Keep the client on this core.
    #[arg(long)]
    client_core: Option<usize>,
    /// Engine of the server: uring (tokio where the kernel refuses a ring) or tokio.
    #[arg(long, default_value = "uring", value_parser = parse_engine)]
    engine: Engine,
    /// Write the figures as JSON to this file, or - for standard output.
    #[arg(long)]
    json: Option<String>,
}

fn parse_engine(text: &str) -> Result<Engine, &'static str> {
    match text {
        "uring" => Ok(Engine::Uring),
        "tokio" => Ok(Engine::Tokio),
        _ => Err("the engines are uring and tokio"),
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    allow_connections();
    let &Arguments { connections, in_flight, seconds, server_core, client_core, engine, .. } =
        arguments;
    let plan = CalibratePlan {
        connections,
        in_flight,
        seconds,
        request_bytes: arguments.request_bytes,
        response_bytes: arguments.response_bytes,
        server_core,
        client_core,
        engine,
    };
    let report = match calibrate(&plan) {
        Ok(report) => report,
        Err(error @ CalibrateError::Plan) => return fail(&error, USAGE),
        Err(error) => return fail(&error, NOT_REACHED),
    };
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = report.write_text(&plan, &mut text);
    match show(&text, &report.to_json(&plan), arguments.json.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, USAGE),
    }
}
