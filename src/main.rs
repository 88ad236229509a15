//! The `tapswitch` binary: the command line of [`tapswitch::cli`].

use mimalloc::MiMalloc;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    tapswitch::cli::main()
}
