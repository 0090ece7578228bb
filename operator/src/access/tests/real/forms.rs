//! Settings in every form that a spec may give them: what the server shows of them is what was asked for, so that a second
//! pass has nothing to set again.

use super::*;

/// One setting of each kind that ClickHouse has, with values that a spec may hold.
const FORMS: [(&str, &[&str]); 16] = [
    ("max_threads", &["auto", "0", "7"]),
    ("max_final_threads", &["auto"]),
    ("join_algorithm", &["auto", "hash,direct", "default"]),
    ("insert_quorum", &["auto", "2"]),
    ("log_queries", &["true", "false", "1", "0"]),
    ("optimize_read_in_order", &["true", "false"]),
    ("read_overflow_mode", &["break", "throw"]),
    ("max_execution_time", &["10", "1.5", "0.25"]),
    ("lock_acquire_timeout", &["120"]),
    ("queue_max_wait_ms", &["5000"]),
    ("max_memory_usage", &["10737418240", "0"]),
    ("totals_auto_threshold", &["0.5", "1"]),
    ("priority", &["3"]),
    ("max_partitions_to_read", &["-1", "8"]),
    ("format_csv_delimiter", &[";", "|"]),
    ("log_comment", &["it's \\ \"quoted\" ü", "auto", "true", "1.50"]),
];

#[tokio::test]
async fn a_setting_in_any_form_is_shown_as_it_was_asked_for() {
    let (connection, stack) = (administrator().await, stack("forms"));
    let longest = FORMS.iter().map(|(_, values)| values.len()).max().unwrap();
    let readers: Vec<_> = (0..longest)
        .map(|at| {
            let value = |values: &[&str]| values.get(at).map(|value| (*value).to_owned());
            let chosen = FORMS.iter().filter_map(|(name, values)| Some((name, value(values)?)));
            let settings = chosen.map(|(name, value)| Setting { value: Some(value), ..Setting::plain(name) });
            Reader { settings: settings.collect(), ..reader(&format!("r{at}")) }
        })
        .collect();
    let login = |reader: &Reader| {
        let user = stack.names.reader_user(&reader.name, 1);
        let passwords = passwords_of(&user);
        Login { user, purpose: Purpose::Reader(reader.name.clone()), passwords }
    };
    let desired = stack.desired_with(&readers, &readers.iter().map(login).collect::<Vec<_>>());
    pass(&connection, &desired).await;
    let catalogue = fetch_catalogue(&connection).await.unwrap();
    let wanted = readers.iter().flat_map(|reader| {
        let shown = &catalogue.users[&stack.names.reader_user(&reader.name, 1)].settings;
        reader.settings.iter().map(move |setting| (setting, shown))
    });
    let canonical = |setting: &Setting| setting.clone().canonical(&catalogue.automatic);
    let other =
        wanted.filter(|(setting, shown)| !shown.iter().any(|shown| canonical(shown) == canonical(setting)));
    let other: Vec<_> = other
        .map(|(setting, shown)| {
            let shown = shown.iter().find(|shown| shown.name == setting.name);
            format!(
                "{} = {:?} is shown as {:?}",
                setting.name,
                setting.value,
                shown.map(|shown| &shown.value)
            )
        })
        .collect();
    assert_eq!(other, Vec::<String>::new());
    assert_eq!(pass(&connection, &desired).await, [], "a second pass");
}
