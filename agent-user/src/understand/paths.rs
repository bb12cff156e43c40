//! Templates of paths: ids are known by their look, slugs by their number. A place below a collection where many different words have
//! stood (`/articles/how-to-fly`) is a variable from then on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::api::{is_id, singular};
use crate::base::limits::{PATH_PLACES, PATH_WORDS};
use crate::base::{Anomaly, KeyedHash, Prints};

/// The bound is reached: slugs at new places stay words.
pub(super) const FULL: Anomaly = Anomaly::new("limit.path_places");

/// What is known of the paths of all hosts.
#[derive(Default)]
pub(super) struct Paths {
    places: Prints<Place>,
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
    /// Finds the slugs of a path of that host, and learns from it; true when there were any.
    pub(super) fn read(&mut self, host: &str, segments: &mut Segments<'_>, hash: &KeyedHash) -> bool {
        let print = |text: &str| hash.print(text.as_bytes());
        let mut place = host.to_owned();
        let mut found = false;
        for at in 1..segments.parts.len() {
            let (before, varies) = segments.parts[at - 1];
            place.push('/');
            place.push_str(if varies { "{id}" } else { before });
            let (segment, known) = segments.parts[at];
            if !known && !varies && !segment.is_empty() && is_collection(before) {
                let place = print(&place);
                if self.places.len() < PATH_PLACES || self.places.contains_key(&place) {
                    let slug = self.varies(place, print(segment));
                    segments.parts[at].1 = slug;
                    found |= slug;
                } else {
                    segments.full = true;
                }
            }
        }
        found
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

    fn read<'a>(paths: &mut Paths, host: &str, path: &'a str) -> Segments<'a> {
        let mut segments = Segments::of(path);
        paths.read(host, &mut segments, &KeyedHash::new([0; 16]));
        segments
    }

    fn template(paths: &mut Paths, host: &str, path: &str) -> Arc<str> {
        read(paths, host, path).template(&path.into())
    }

    #[test]
    fn slugs_are_a_variable_once_there_are_many() {
        let mut paths = Paths::default();
        let slug = |at: usize| format!("/v1/articles/{}/comments", "abcdefghijklmnopqrstuvwxyz".get(at..at + 4).expect("short"));
        for at in 0..PATH_WORDS {
            assert_eq!(&*template(&mut paths, "blog.example", &slug(at)), slug(at), "{at}");
        }
        assert_eq!(&*template(&mut paths, "blog.example", &slug(PATH_WORDS)), "/v1/articles/{id}/comments");
        let path = "/v1/articles/how-to-fly";
        assert_eq!(read(&mut paths, "blog.example", path).last_object(), Some(("articles", "how-to-fly")));
        assert_eq!(&*template(&mut paths, "other.example", path), path);
    }

    #[test]
    fn many_collections_side_by_side_are_no_variable() {
        let mut paths = Paths::default();
        for at in 0..4 * PATH_WORDS {
            let path = format!("/api/{}s", "bcdfghjklmnpqrstvwxyz".repeat(4).get(at..at + 5).expect("short"));
            assert_eq!(&*template(&mut paths, "blog.example", &path), path);
        }
    }

    #[test]
    fn places_are_bounded_and_the_path_says_so() {
        let mut paths = Paths::default();
        for at in 0..PATH_PLACES {
            assert!(!read(&mut paths, &format!("h{at}.example"), "/articles/word").full);
        }
        assert!(read(&mut paths, "one-more.example", "/articles/word").full);
        assert!(!read(&mut paths, "h0.example", "/articles/other").full);
        assert_eq!(paths.places.len(), PATH_PLACES);
    }
}
