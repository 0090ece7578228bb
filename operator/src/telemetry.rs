//! Logs: one JSON object a line, quiet when nothing changes.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

use crate::args::LogFormat;

/// Installs the subscriber. Libraries are kept one level quieter, since they repeat what status says.
pub(crate) fn install(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let directives = format!("warn,weir_operator={level},kube=warn,kube_runtime=warn,kube_client=warn");
    let filter = EnvFilter::try_new(directives)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_timer(SystemTime).with_target(false);
    let installed = match format {
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
        LogFormat::Text => builder.try_init(),
    };
    installed.map_err(|error| anyhow::anyhow!("failed to install the log subscriber: {error}"))
}
