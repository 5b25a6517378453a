//! What the adapter logs, in memory.

use std::{
    io,
    sync::{Arc, Mutex},
};

/// Everything that was logged since the first call of this function.
pub(crate) fn logs() -> Logs {
    static LOGS: std::sync::OnceLock<Logs> = std::sync::OnceLock::new();
    LOGS.get_or_init(|| {
        let logs = Logs::default();
        let writer = logs.clone();
        tracing_subscriber::fmt()
            .with_env_filter("wasm_metrics_adapter=info")
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .init();
        logs
    })
    .clone()
}

/// Log lines in memory.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// The lines about a plugin.
    pub(crate) fn of(&self, plugin: impl std::fmt::Display) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned();
        let mark = format!("plugin={plugin}");
        let is_about = |line: &&str| line.split_whitespace().any(|word| word.trim_end_matches(':') == mark);
        text.lines().filter(is_about).map(str::to_owned).collect()
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
