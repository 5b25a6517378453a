//! The project's own commands, the same for people and for CI: `cargo xtask COMMAND`. Each command is a module with a
//! `run`; this file only chooses one and never does work itself.

mod bench;
mod check;
mod control_plane;
mod demo;
mod e2e;
mod fuzz;
mod go;
mod golden;
mod guests;
mod shell;
mod soak;
mod test;
mod toolchain;
mod wit;

use std::process::ExitCode;

const HELP: &str = "\
The project's own commands.

Usage: cargo xtask COMMAND [OPTIONS]

Commands:
  demo     start the adapter with real plugins on this machine, ask it, change a plugin while it runs
           --keep  leave it running until Ctrl-C
  test     build what the tests need and run all of them but the end-to-end suite
  e2e      run the end-to-end suite against a real control plane, two replicas of the adapter and real plugins
  check    formatting, lints, documentation, dependency policy and manifests, as CI checks them
  bench    time to ready, memory and CPU per request of a release build, on a real control plane
  soak     two replicas with ten plugins, half of them hostile, under load, edits and outages for minutes
           --minutes N  how long (10)
           --reloads N  edits of one plugin in that time (1000)
           --release    of a release build
  fuzz     what strangers and plugin authors write, by libFuzzer: bundle, manifest, policy, request
           [TARGET]...  these alone
           --seconds N  each (60)
  deny     the dependency policy alone, by cargo-deny where it is installed
  control-plane build|up
           build a Kubernetes control plane for this machine, or start one
  go       build the Go side of the tests: the adapter that ours is compared with, the clients that HPAs are built from
  golden   compare the tables of host/tests/golden with what Go's own packages say
           --bless  write them
  guests   build every plugin and every test guest into target/guests/NAME.wasm
           --test   run the plugins' own tests instead, natively
  wit      check that bindings generators for Rust, C and Go accept the WIT package, and that released WIT is unchanged
           --bless  record the present WIT files as those of an unreleased track

The wasm toolchain is set up on first use, by rustup if that can fetch wasm32-wasip2, else from Debian's packages in the
user's cache directory. WASM_RUST_SOURCE=auto|rustup|debian chooses; xtask/wasm-toolchain.sh tells more.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> anyhow::Result<()> {
    let Some((command, options)) = arguments.split_first() else {
        anyhow::bail!("no command given\n\n{HELP}");
    };
    match command.as_str() {
        "demo" => demo::run(options),
        "test" => test::run(options),
        "e2e" => e2e::run(options),
        "bench" => bench::run(options),
        "soak" => soak::run(options),
        "fuzz" => fuzz::run(options),
        "check" => check::run(options),
        "deny" => check::deny(options),
        "control-plane" => control_plane::run(options),
        "go" => go::programs().map(|folder| println!("the programs are in {}", folder.display())),
        "golden" => golden::run(options),
        "guests" => guests::run(options),
        "wit" => wit::run(options),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            Ok(())
        }
        unknown => anyhow::bail!("`{unknown}` is no command; `cargo xtask --help` lists them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_command_is_refused_with_the_way_to_help() {
        let error = dispatch(&["gests".to_owned()]).unwrap_err();
        assert_eq!(error.to_string(), "`gests` is no command; `cargo xtask --help` lists them");
        assert!(dispatch(&[]).unwrap_err().to_string().contains("Usage: cargo xtask COMMAND"));
        assert!(dispatch(&["--help".to_owned()]).is_ok());
    }
}
