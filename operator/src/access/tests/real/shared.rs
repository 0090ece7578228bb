//! One read of the catalogue for every stack on a server.

use super::*;

/// A user with every right, so that its queries can be counted in the server's log.
async fn counted_administrator(stack: &Stack) -> Connection {
    let everything = administrator();
    let name = format!("{}_administrator", stack.names.prefix);
    let hash = PasswordHash::of(&password_of(&name)).hex();
    let user = identifier(&name);
    for statement in [
        format!("CREATE USER {user} IDENTIFIED WITH sha256_hash BY '{hash}' HOST ANY"),
        format!("GRANT ALL ON *.* TO {user} WITH GRANT OPTION"),
    ] {
        everything.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    login(&everything, &name)
}

#[tokio::test]
async fn the_queries_of_a_drift_pass_do_not_grow_with_the_number_of_stacks() {
    let connection = counted_administrator(&stack("count")).await;
    let count = format!(
        "SELECT count() FROM system.query_log WHERE type = 'QueryStart' AND user = {} AND log_comment LIKE '%catalogue%'",
        literal(connection.user())
    );
    let mut counts = Vec::new();
    for stacks in [1_u32, 100, 1_000] {
        let catalogues = Catalogues::default();
        administrator().execute("SYSTEM FLUSH LOGS").await.unwrap();
        let before: u64 = administrator().value(&count).await.unwrap().parse().unwrap();
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
            let catalogues = &catalogues;
            async move { catalogues.read(&own, freshness).await.answer.unwrap() }
        });
        let answers = join_all(passes).await;
        assert!(answers.iter().all(|answer| std::sync::Arc::ptr_eq(answer, &answers[0])));
        administrator().execute("SYSTEM FLUSH LOGS").await.unwrap();
        let after: u64 = administrator().value(&count).await.unwrap().parse().unwrap();
        counts.push((stacks, after - before));
    }
    // The figures are part of the result.
    eprintln!("catalogue queries in one drift pass, by number of stacks: {counts:?}");
    assert!(counts.iter().all(|(_, queries)| *queries == counts[0].1 && *queries > 0), "{counts:?}");
}

#[tokio::test]
async fn an_administrator_with_another_password_is_not_answered_from_what_was_read_before() {
    let (catalogues, connection) = (Catalogues::default(), administrator());
    let freshness = Freshness { not_before: None, lifetime: Duration::from_hours(1) };
    assert!(catalogues.read(&connection, freshness).await.answer.is_ok());
    let wrong = connection.with_login(connection.user(), "another".to_owned().into());
    assert!(catalogues.read(&wrong, freshness).await.answer.is_err());
}
