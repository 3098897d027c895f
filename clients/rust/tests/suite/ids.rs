//! UUIDv7.

use std::{collections::HashSet, thread};

use engagement_attributes::uuid7;

#[test]
fn an_id_is_a_uuid_of_version_seven() {
    let id = uuid7();
    let groups: Vec<&str> = id.split('-').collect();
    assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    assert!(groups.concat().chars().all(|letter| matches!(letter, '0'..='9' | 'a'..='f')));
    assert!(groups[2].starts_with('7'));
    assert!(groups[3].starts_with(['8', '9', 'a', 'b']));
}

#[test]
fn an_id_begins_with_the_time() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let milliseconds = u128::from_str_radix(&uuid7().replace('-', "")[..12], 16).unwrap();
    assert!(milliseconds.abs_diff(now) < 60_000);
}

#[test]
fn ids_grow() {
    let ids: Vec<String> = (0..100_000).map(|_| uuid7()).collect();
    assert!(ids.is_sorted_by(|before, after| before < after));
}

#[test]
fn threads_get_different_ids_and_each_thread_growing_ones() {
    let threads: Vec<_> =
        (0..8).map(|_| thread::spawn(|| (0..10_000).map(|_| uuid7()).collect::<Vec<_>>())).collect();
    let mut all = HashSet::new();
    for thread in threads {
        let ids = thread.join().unwrap();
        assert!(ids.is_sorted_by(|before, after| before < after));
        all.extend(ids);
    }
    assert_eq!(all.len(), 80_000);
}
