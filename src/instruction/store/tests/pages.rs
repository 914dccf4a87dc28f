use super::*;
use crate::base::failure::Failure;

/// All ids that paging gives, and the pages' sizes.
fn paged(
    store: &InstructionStore,
    size: usize,
    category: Option<&str>,
) -> (Vec<String>, Vec<usize>) {
    let (mut token, mut ids, mut sizes) = (None, Vec::new(), Vec::new());
    loop {
        let page = store.list(size, token.as_deref(), category).expect("a page");
        ids.extend(page.instructions.iter().map(|one| one.id.to_string()));
        sizes.push(page.instructions.len());
        token = page.next_token;
        if token.is_none() {
            return (ids, sizes);
        }
    }
}

#[test]
fn pages_show_each_instruction_once_in_order() {
    let home = Home::new();
    let store = home.open();
    let category = |number: usize| ["even", "odd"][number % 2];
    create(&store, (0..7).map(|n| new(&format!("n{n}"), Some(category(n)))).collect());
    let (ids, sizes) = paged(&store, 3, None);
    assert_eq!(ids, ["n0", "n1", "n2", "n3", "n4", "n5", "n6"]);
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(paged(&store, 7, None).1, [7]);
    assert_eq!(paged(&store, 0, None).1, [1; 7]);
    let (ids, sizes) = paged(&store, 2, Some("odd"));
    assert_eq!((ids, sizes), (vec!["n1".into(), "n3".into(), "n5".into()], vec![2, 1]));
    assert_eq!(store.list(1, None, Some("odd")).expect("a page").total, 3);
    assert_eq!(paged(&store, 2, Some("none")), (vec![], vec![0]));
}

#[test]
fn changes_between_pages_neither_repeat_nor_hide() {
    let home = Home::new();
    let store = home.open();
    create(&store, numbered(0..6));
    let first = store.list(2, None, None).expect("a page");
    store.delete(&["n0", "n1", "n3"]).expect("deleted");
    create(&store, numbered(6..7));
    let rest = store.list(9, first.next_token.as_deref(), None).expect("a page");
    let ids: Vec<_> = rest.instructions.iter().map(|one| &*one.id).collect();
    assert_eq!((ids, rest.next_token), (vec!["n2", "n4", "n5", "n6"], None));
}

#[test]
fn tokens_are_bound_to_library_and_filter_and_survive_a_restart() {
    let home = Home::new();
    let store = home.open();
    create(&store, vec![new("a", Some("x")), new("b", Some("x"))]);
    let token = store.list(1, None, Some("x")).expect("a page").next_token.expect("more");
    assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    let refused = |token: &str, category| {
        let error = store.list(1, Some(token), category).expect_err("refused");
        assert_eq!(error.code(), "bad_page_token", "{token:?}");
    };
    refused(&token, None);
    refused(&token, Some("y"));
    for wrong in ["", "AAAA", "?", "AQ==", &token[1..], &format!("{token}A"), &"A".repeat(23)] {
        refused(wrong, Some("x"));
    }
    let other = Home::new();
    assert!(other.open().list(1, Some(&token), Some("x")).is_err());
    drop(store);
    let page = home.open().list(1, Some(&token), Some("x")).expect("a page");
    assert_eq!(&*page.instructions[0].id, "b");
}
