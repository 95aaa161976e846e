//! Finds the longest prefix of a number in a sorted table. Knows nothing of routes: it gives the place of the prefix's value.

/// Prefixes in order, each with the longest other prefix that it begins with.
#[derive(Debug, Default)]
pub(crate) struct PrefixTable {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    prefix: String,
    value: usize,
    parent: Option<usize>,
}

impl PrefixTable {
    /// From prefixes; the value of each is its place in the list. Of a prefix that stands there twice, gives both places.
    pub(crate) fn new(prefixes: Vec<String>) -> Result<Self, (usize, usize)> {
        let mut sorted: Vec<(usize, String)> = prefixes.into_iter().enumerate().collect();
        sorted.sort_by(|(_, a), (_, b)| a.cmp(b));
        let mut entries: Vec<Entry> = Vec::with_capacity(sorted.len());
        for (value, prefix) in sorted {
            // All entries that this one begins with are ancestors of the one before it.
            let parent = ancestor(&entries, entries.len().checked_sub(1), &prefix);
            if let Some(twin) = parent
                .and_then(|parent| entries.get(parent))
                .filter(|twin| twin.prefix == prefix)
            {
                return Err((twin.value, value));
            }
            entries.push(Entry {
                prefix,
                value,
                parent,
            });
        }
        Ok(Self { entries })
    }

    /// The value of the longest prefix that `number` begins with.
    pub(crate) fn longest(&self, number: &str) -> Option<usize> {
        // What stands between a prefix of the number and the number itself begins with that prefix too, so each prefix of the
        // number is the last entry that is not behind it, or an ancestor of that one.
        let behind = self
            .entries
            .partition_point(|entry| entry.prefix.as_str() <= number);
        let found = ancestor(&self.entries, behind.checked_sub(1), number)?;
        self.entries.get(found).map(|entry| entry.value)
    }
}

/// `from` or the nearest of its ancestors that `number` begins with.
fn ancestor(entries: &[Entry], from: Option<usize>, number: &str) -> Option<usize> {
    let mut next = from;
    while let Some(index) = next {
        let entry = entries.get(index)?;
        if number.starts_with(&entry.prefix) {
            return Some(index);
        }
        next = entry.parent;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn longest_of_many_agrees_with_a_search_of_all() {
        let mut state = 1_u32;
        let mut digits = |length_max: u32| -> String {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state >> 16
            };
            let length = next() % (length_max + 1);
            (0..length)
                .map(|_| char::from(b'0' + (next() % 4) as u8))
                .collect()
        };
        let mut prefixes: Vec<String> = (0..1_000).map(|_| digits(7)).collect();
        prefixes.sort();
        prefixes.dedup();
        prefixes.reverse();
        let table = PrefixTable::new(prefixes.clone()).unwrap();
        for number in (0..5_000).map(|_| digits(10)) {
            let searched = prefixes
                .iter()
                .enumerate()
                .filter(|(_, prefix)| number.starts_with(*prefix));
            let longest = searched
                .max_by_key(|(_, prefix)| prefix.len())
                .map(|(index, _)| index);
            assert_eq!(table.longest(&number), longest, "{number}");
        }
    }

    #[test]
    fn a_prefix_stands_there_once() {
        let twice = ["49", "4", "49"].map(String::from).to_vec();
        assert_eq!(PrefixTable::new(twice).unwrap_err(), (0, 2));
        assert_eq!(PrefixTable::new(Vec::new()).unwrap().longest("1"), None);
    }
}
