//! Objects in memory, by namespace and name, with nothing but what guests may ask for. Whoever reads sees a complete list or is
//! told that there is none yet: a new listing takes the old one's place whole.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{PoisonError, RwLock, RwLockWriteGuard},
};

use crate::model::Selector;

/// What is kept of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// Its namespace, "" for cluster-scoped objects.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels, sorted by key.
    pub labels: Vec<(String, String)>,
    /// Its addresses, where its kind has them and they are watched.
    pub addresses: Vec<String>,
    /// Its Ready condition; true where its kind has none.
    pub ready: bool,
}

/// Objects of one kind. Names within a namespace are sorted, for answers are.
#[derive(Default)]
pub(super) struct Index(RwLock<Namespaces>);

type Namespaces = HashMap<String, BTreeMap<String, Object>>;

impl Index {
    /// A listing is complete: objects that are not in it are gone.
    pub(super) fn replace(&self, listing: Vec<Object>) {
        let mut complete = Namespaces::new();
        for object in listing {
            put(&mut complete, object);
        }
        *self.write() = complete;
    }

    /// An object is new or has changed.
    pub(super) fn apply(&self, object: Object) {
        put(&mut self.write(), object);
    }

    /// An object is gone.
    pub(super) fn delete(&self, object: &Object) {
        let mut live = self.write();
        if let Some(names) = live.get_mut(&object.namespace) {
            names.remove(&object.name);
            if names.is_empty() {
                live.remove(&object.namespace);
            }
        }
    }

    /// What `make` makes of each object of a namespace that `selector` selects, sorted by name.
    pub(super) fn select<T>(&self, namespace: &str, selector: &Selector, make: impl Fn(&Object) -> T) -> Vec<T> {
        let live = self.0.read().unwrap_or_else(PoisonError::into_inner);
        selected(live.get(namespace).into_iter(), selector).map(make).collect()
    }

    /// The same of every namespace, sorted by namespace and name.
    pub(super) fn select_everywhere<T>(&self, selector: &Selector, make: impl Fn(&Object) -> T) -> Vec<T> {
        let live = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut namespaces: Vec<_> = live.iter().collect();
        namespaces.sort_by_key(|(name, _)| *name);
        selected(namespaces.into_iter().map(|(_, objects)| objects), selector).map(make).collect()
    }

    fn write(&self) -> RwLockWriteGuard<'_, Namespaces> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put(namespaces: &mut Namespaces, object: Object) {
    namespaces.entry(object.namespace.clone()).or_default().insert(object.name.clone(), object);
}

fn selected<'live>(
    namespaces: impl Iterator<Item = &'live BTreeMap<String, Object>>,
    selector: &Selector,
) -> impl Iterator<Item = &'live Object> {
    let objects = namespaces.flat_map(BTreeMap::values);
    objects.filter(|object| selector.matches(|key| label(&object.labels, key)))
}

/// The value of a key in sorted labels.
fn label<'labels>(labels: &'labels [(String, String)], key: &str) -> Option<&'labels str> {
    let position = labels.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
    labels.get(position).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Object {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Object { namespace: namespace.to_owned(), name: name.to_owned(), labels, ..Object::default() }
    }

    fn names(index: &Index, namespace: &str) -> Vec<String> {
        index.select(namespace, &Selector::everything(), |object| object.name.clone())
    }

    #[test]
    fn of_5000_objects_a_namespace_gets_its_own_sorted() {
        let index = Index::default();
        index.replace(
            (0..5000)
                .rev()
                .map(|number| object(&format!("ns-{}", number % 100), &format!("pod-{number:04}"), &[]))
                .collect(),
        );
        let expected: Vec<_> = (0..50).map(|position| format!("pod-{:04}", 7 + position * 100)).collect();
        assert_eq!(names(&index, "ns-7"), expected);
        assert!(names(&index, "ns-100").is_empty() && names(&index, "").is_empty());
        assert_eq!((0..100).map(|number| names(&index, &format!("ns-{number}")).len()).sum::<usize>(), 5000);
    }

    #[test]
    fn changes_are_applied_and_a_new_listing_replaces_all() {
        let index = Index::default();
        index.replace(vec![object("a", "one", &[]), object("b", "two", &[])]);
        index.apply(object("a", "three", &[]));
        index.apply(object("a", "one", &[("app", "web")]));
        index.delete(&object("b", "two", &[]));
        index.delete(&object("b", "never-there", &[]));
        assert_eq!(names(&index, "a"), ["one", "three"]);
        assert!(names(&index, "b").is_empty());
        index.replace(vec![object("b", "four", &[])]);
        assert!(names(&index, "a").is_empty());
        assert_eq!(names(&index, "b"), ["four"]);
    }

    #[test]
    fn labels_select() {
        let index = Index::default();
        index.replace(vec![
            object("a", "web", &[("app", "web"), ("tier", "front")]),
            object("a", "db", &[("app", "db")]),
        ]);
        for (selector, expected) in
            [("app=web", &["web"][..]), ("tier", &["web"]), ("app!=web", &["db"]), ("tier=back", &[])]
        {
            let selector = Selector::parse(selector).unwrap();
            assert_eq!(index.select("a", &selector, |object| object.name.clone()), expected, "{selector}");
        }
    }
}
