//! The engine's config.xml and its arguments.

use std::path::Path;

/// Renders config.xml for a data folder.
///
/// The log sections make `system.query_log` and `system.session_log` exist; the forwarded address lets the engine
/// itself judge `HOST`, since every connection comes from the proxy. Parts that were merged go soon: each start reads them
/// all. `maybe_text_log` takes what `system.text_log` would.
pub(crate) fn render_config(data: &Path, maybe_text_log: Option<&Path>) -> String {
    let data = data.display();
    let logger = maybe_text_log.map(|file| {
        format!("<logger><level>debug</level><log>{}</log><size>1000M</size></logger>\n", file.display())
    });
    let log = |name: &str| {
        format!(
            "<{name}><database>system</database><table>{name}</table>\
             <flush_interval_milliseconds>2000</flush_interval_milliseconds></{name}>\n"
        )
    };
    format!(
        "<clickhouse>\n\
         <users_config>{data}/users.xml</users_config>\n\
         <path>{data}/engine/</path>\n\
         <tmp_path>{data}/engine/tmp/</tmp_path>\n\
         <user_files_path>{data}/engine/user_files/</user_files_path>\n\
         <format_schema_path>{data}/engine/format_schemas/</format_schema_path>\n\
         <backups><allowed_path>{data}/backups/</allowed_path></backups>\n\
         <auth_use_forwarded_address>true</auth_use_forwarded_address>\n\
         <keep_alive_timeout>60</keep_alive_timeout>\n\
         <merge_tree>\n\
         <old_parts_lifetime>5</old_parts_lifetime>\n\
         <cleanup_delay_period>1</cleanup_delay_period>\n\
         <cleanup_delay_period_random_add>0</cleanup_delay_period_random_add>\n\
         </merge_tree>\n\
         <max_connections>4096</max_connections>\n\
         <access_control_improvements>\n\
         <users_without_row_policies_can_read_rows>true</users_without_row_policies_can_read_rows>\n\
         <on_cluster_queries_require_cluster_grant>true</on_cluster_queries_require_cluster_grant>\n\
         <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>\n\
         <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>\n\
         <settings_constraints_replace_previous>true</settings_constraints_replace_previous>\n\
         </access_control_improvements>\n\
         {}{}{}</clickhouse>\n",
        logger.unwrap_or_default(),
        log("query_log"),
        log("session_log"),
    )
}

/// Renders the arguments of the engine's process.
///
/// The query opens the port and then sleeps for years: the engine lives as long as its last query.
pub(crate) fn engine_arguments(data: &Path, port: u16) -> Vec<String> {
    vec![
        format!("--config-file={}", data.join("config.xml").display()),
        format!("--path={}", data.join("engine").display()),
        format!("--http_port={port}"),
        "--listen_host=127.0.0.1".to_owned(),
        "--query=system start listen http; select sleepEachRow(3) from numbers(100000000) \
         settings function_sleep_max_microseconds_per_block=0, max_block_size=1, log_queries=0 format Null"
            .to_owned(),
    ]
}
