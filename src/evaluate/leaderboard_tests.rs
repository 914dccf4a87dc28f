use super::*;

fn entrant(name: &str) -> Entrant {
    let path = format!("{name}.json").into();
    Entrant { name: name.into(), path, sha256: String::new(), answers: Vec::new() }
}

#[test]
fn everyone_meets_everyone_or_the_baseline() {
    let entrants = ["a", "b", "c"].map(entrant);
    assert_eq!(pairs(&entrants, None).expect("pairs"), [(0, 1), (0, 2), (1, 2)]);
    assert_eq!(pairs(&entrants, Some("b")).expect("pairs"), [(0, 1), (2, 1)]);
    let error = pairs(&entrants, Some("d")).expect_err("unknown").to_string();
    assert_eq!(error, "baseline is d, must be one of a, b, c");
}
