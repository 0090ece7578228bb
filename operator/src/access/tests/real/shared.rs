//! One read of the catalogue for every stack on a server.

use futures::{StreamExt as _, stream};

use super::*;

/// Queries of a user so far, those of the catalogue and those of login proofs.
async fn queries(user: &str) -> [u64; 2] {
    let root = root();
    root.execute("SYSTEM FLUSH LOGS").await.unwrap();
    let count = async |of: &str| {
        let count = format!(
            "SELECT count() FROM system.query_log WHERE type = 'QueryStart' AND user = {} AND {of}",
            literal(user)
        );
        root.value(&count).await.unwrap().parse().unwrap()
    };
    // A login that may change no setting says in the text why it comes.
    let (catalogue, proofs) =
        ("log_comment LIKE '%\"catalogue\"%'", "query LIKE '/* %\"prove\"% */ SELECT currentUser()'");
    [count(catalogue).await, count(proofs).await]
}

#[tokio::test]
async fn the_queries_of_a_drift_pass_do_not_grow_with_the_number_of_stacks() {
    // One of its own, so that its queries can be counted in the server's log.
    let connection = make_administrator().await;
    let (user, password) = (connection.user(), password_of(connection.user()).into());
    let mut counts = Vec::new();
    for stacks in [1, 100, count("WEIR_TEST_STACKS", 1_000)] {
        let catalogues = Catalogues::default();
        let before = queries(user).await;
        let due = Some(tokio::time::Instant::now());
        let freshness = Freshness { not_before: due, lifetime: Duration::from_hours(1) };
        let passes = (0..stacks).map(|stack| {
            let comment = Comment {
                stack: format!("shop/stack-{stack}"),
                uid: "u".into(),
                generation: 1,
                reason: "access".into(),
            };
            let own = connection.with_comment(&comment);
            let (catalogues, password) = (&catalogues, &password);
            async move {
                let answer = catalogues.read(&own, freshness).await.answer.unwrap();
                prove(&own, user, password, &[]).await.unwrap();
                answer
            }
        });
        let answers: Vec<_> = stream::iter(passes).buffer_unordered(100).collect().await;
        assert!(answers.iter().all(|answer| std::sync::Arc::ptr_eq(answer, &answers[0])));
        let after = queries(user).await;
        let [catalogue, proofs] = [0, 1].map(|kind| after[kind] - before[kind]);
        assert!(proofs >= stacks as u64, "{proofs} proofs of {stacks} stacks are logged");
        counts.push((stacks, catalogue, proofs));
    }
    let shown = counts.iter().map(|(stacks, catalogue, proofs)| {
        format!("{catalogue} for {stacks} stacks and, apart from them, {proofs} of login proofs")
    });
    eprintln!("figure: catalogue queries in one drift pass: {}", shown.collect::<Vec<_>>().join("; "));
    assert!(counts.iter().all(|(_, queries, _)| *queries == counts[0].1 && *queries > 0), "{counts:?}");
}

#[tokio::test]
async fn an_administrator_with_another_password_is_not_answered_from_what_was_read_before() {
    let (catalogues, connection) = (Catalogues::default(), administrator().await);
    let freshness = Freshness { not_before: None, lifetime: Duration::from_hours(1) };
    assert!(catalogues.read(&connection, freshness).await.answer.is_ok());
    let wrong = connection.with_login(connection.user(), "another".to_owned().into());
    assert!(catalogues.read(&wrong, freshness).await.answer.is_err());
}
