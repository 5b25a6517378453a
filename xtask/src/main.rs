//! The project's own commands, the same for people and for CI: `cargo xtask COMMAND`.

mod control_plane;
mod shell;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, options)) if command == "control-plane" => control_plane::run(options),
        _ => Err(anyhow::anyhow!("Usage: cargo xtask control-plane COMMAND")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
