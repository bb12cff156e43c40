//! Templates of paths: ids are known by their look, slugs by their number. A place below a collection where many different words have
//! stood (`/articles/how-to-fly`) is a variable from then on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::api::{is_id, singular};
use crate::base::limits::{PATH_PLACES, PATH_WORDS};
use crate::base::{Anomaly, KeyedHash};

/// The bound is reached: slugs at new places stay words.
pub(super) const FULL: Anomaly = Anomaly::new("limit.path_places");

/// What is known of the paths of all hosts.
#[derive(Default)]
pub(super) struct Paths {
    places: HashMap<u64, Place>,
}

enum Place {
    /// Fingerprints of the words so far.
    Words(BTreeSet<u64>),
    Variable,
}

/// A path cut at its slashes, with what of it varies.
pub(super) struct Segments<'a> {
    parts: Vec<(&'a str, bool)>,
    /// A place in it could not be learned any more.
    pub(super) full: bool,
}

impl Paths {
    pub(super) fn read<'a>(&mut self, host: &str, path: &'a str, hash: &KeyedHash) -> Segments<'a> {
        let mut segments = Segments::of(path);
        let print = |text: &str| hash.digest(text.as_bytes()) as u64;
        let mut place = host.to_owned();
        for at in 1..segments.parts.len() {
            let (before, varies) = segments.parts[at - 1];
            place.push('/');
            place.push_str(if varies { "{id}" } else { before });
            let (segment, known) = segments.parts[at];
            if !known && !varies && !segment.is_empty() && is_collection(before) {
                let place = print(&place);
                if self.places.len() < PATH_PLACES || self.places.contains_key(&place) {
                    segments.parts[at].1 = self.varies(place, print(segment));
                } else {
                    segments.full = true;
                }
            }
        }
        segments
    }

    fn varies(&mut self, place: u64, word: u64) -> bool {
        let known = self.places.entry(place).or_insert_with(|| Place::Words(BTreeSet::new()));
        if let Place::Words(words) = known {
            words.insert(word);
            if words.len() > PATH_WORDS {
                *known = Place::Variable;
            }
        }
        matches!(known, Place::Variable)
    }
}

/// Collections are named in the plural.
fn is_collection(segment: &str) -> bool {
    segment.len() > 3
        && segment.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'))
        && singular(segment) != segment.to_ascii_lowercase()
}

impl<'a> Segments<'a> {
    /// By the look alone.
    pub(super) fn of(path: &'a str) -> Segments<'a> {
        Segments { parts: path.split('/').map(|segment| (segment, is_id(segment))).collect(), full: false }
    }

    /// `/v1/orders/1001/refunds` is `/v1/orders/{id}/refunds`; `path` is the one that was cut, and stays as it is where nothing varies.
    pub(super) fn template(&self, path: &Arc<str>) -> Arc<str> {
        if !self.parts.iter().any(|(_, varies)| *varies) {
            return path.clone();
        }
        let parts: Vec<&str> = self.parts.iter().map(|(segment, varies)| if *varies { "{id}" } else { segment }).collect();
        parts.join("/").into()
    }

    /// The last collection with an id behind it, and the id: `/users/u-1/orders/17/refunds` is about order 17.
    pub(super) fn last_object(&self) -> Option<(&'a str, &'a str)> {
        let parts: Vec<&(&str, bool)> = self.parts.iter().filter(|(segment, _)| !segment.is_empty()).collect();
        let at = (1..parts.len()).rev().find(|at| parts[*at].1 && !parts[*at - 1].1)?;
        Some((parts[at - 1].0, parts[at].0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(paths: &mut Paths, path: &str) -> Arc<str> {
        paths.read("blog.example", path, &KeyedHash::new([0; 16])).template(&path.into())
    }

    #[test]
    fn slugs_are_a_variable_once_there_are_many() {
        let mut paths = Paths::default();
        let slug = |at: usize| format!("/v1/articles/{}/comments", "abcdefghijklmnopqrstuvwxyz".get(at..at + 4).expect("short"));
        for at in 0..PATH_WORDS {
            assert_eq!(&*template(&mut paths, &slug(at)), slug(at), "{at}");
        }
        assert_eq!(&*template(&mut paths, &slug(PATH_WORDS)), "/v1/articles/{id}/comments");
        let known = paths.read("blog.example", "/v1/articles/how-to-fly", &KeyedHash::new([0; 16]));
        assert_eq!(known.last_object(), Some(("articles", "how-to-fly")));
        assert_eq!(
            &*paths
                .read("other.example", "/v1/articles/how-to-fly", &KeyedHash::new([0; 16]))
                .template(&"/v1/articles/how-to-fly".into()),
            "/v1/articles/how-to-fly"
        );
    }

    #[test]
    fn many_collections_side_by_side_are_no_variable() {
        let mut paths = Paths::default();
        for at in 0..4 * PATH_WORDS {
            let path = format!("/api/{}s", "bcdfghjklmnpqrstvwxyz".repeat(4).get(at..at + 5).expect("short"));
            assert_eq!(&*template(&mut paths, &path), path);
        }
    }

    #[test]
    fn places_are_bounded_and_the_path_says_so() {
        let (mut paths, hash) = (Paths::default(), KeyedHash::new([0; 16]));
        for at in 0..PATH_PLACES {
            assert!(!paths.read(&format!("h{at}.example"), "/articles/word", &hash).full);
        }
        assert!(paths.read("one-more.example", "/articles/word", &hash).full);
        assert!(!paths.read("h0.example", "/articles/other", &hash).full);
        assert_eq!(paths.places.len(), PATH_PLACES);
    }
}
