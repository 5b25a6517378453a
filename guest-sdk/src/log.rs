//! Lines in the adapter's log, marked with the plugin's name and rate-limited; a line longer than 4 KiB is cut.
//!
//! ```
//! # let queue = "orders";
//! metrics_plugin::log::warn(format_args!("queue {queue} reports a negative length"));
//! ```

use std::fmt::Display;

pub use crate::bindings::imports::wasm_metrics_adapter::plugin::log::Level;
use crate::host;

/// For the plugin's author.
pub fn debug(message: impl Display) {
    write(Level::Debug, message);
}

/// For the operator, in normal work.
pub fn info(message: impl Display) {
    write(Level::Info, message);
}

/// Something is odd, and the plugin copes.
pub fn warn(message: impl Display) {
    write(Level::Warn, message);
}

/// Something failed.
pub fn error(message: impl Display) {
    write(Level::Error, message);
}

fn write(level: Level, message: impl Display) {
    host::log::write(level, &message.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn each_function_writes_at_its_level() {
        let host = Host::new();
        host.run(|| {
            debug("a");
            info("b");
            warn(format_args!("c{}", 1));
            error("d");
        });
        let expected = [(Level::Debug, "a"), (Level::Info, "b"), (Level::Warn, "c1"), (Level::Error, "d")];
        assert_eq!(host.log_lines(), expected.map(|(level, line)| (level, line.to_owned())));
    }
}
