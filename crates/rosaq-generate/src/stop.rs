//! Strings that end a text, wherever tokens cut them.

/// Lets text through up to the first of some strings.
#[derive(Debug, Clone)]
pub(crate) struct Stops<'a> {
    stops: &'a [String],
    /// Text held back, since one of the strings may begin in it.
    held: String,
}

impl<'a> Stops<'a> {
    /// Empty strings stop nothing.
    pub(crate) fn new(stops: &'a [String]) -> Self {
        Self { stops, held: String::new() }
    }

    /// Takes more text in; gives what can go out, and whether a string was found behind it.
    pub(crate) fn push(&mut self, more: &str) -> (String, bool) {
        self.held.push_str(more);
        let stops = || self.stops.iter().filter(|stop| !stop.is_empty());
        if let Some(at) = first_stop(&self.held, stops()) {
            self.held.truncate(at);
            return (std::mem::take(&mut self.held), true);
        }
        let begins_stop = |&at: &usize| {
            self.held.is_char_boundary(at) && stops().any(|stop| stop.starts_with(&self.held[at..]))
        };
        let safe = (0..self.held.len()).find(begins_stop).unwrap_or(self.held.len());
        let rest = self.held.split_off(safe);
        (std::mem::replace(&mut self.held, rest), false)
    }

    /// What is still held back when no more comes.
    pub(crate) fn finish(self) -> String {
        self.held
    }
}

/// Where the string begins that is whole first, however the text is cut; of several the longest.
fn first_stop<'s>(text: &str, stops: impl Iterator<Item = &'s String>) -> Option<usize> {
    let found = stops.filter_map(|stop| text.find(stop.as_str()).map(|at| (at + stop.len(), at)));
    found.min().map(|(_, at)| at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_string_cut_in_pieces_is_found_and_does_not_show() {
        let stops = ["END".to_owned(), String::new()];
        let mut text = Stops::new(&stops);
        assert_eq!(text.push("an E"), ("an ".to_owned(), false));
        assert_eq!(text.push("Nd, EN"), ("ENd, ".to_owned(), false));
        assert_eq!(text.push("D and more"), (String::new(), true));
    }

    proptest! {
        #[test]
        fn what_goes_out_does_not_depend_on_how_the_text_is_cut(
            pieces in prop::collection::vec("[abä]{0,4}", 0..12),
            stops in prop::collection::vec("[abä]{1,3}", 0..3),
        ) {
            let whole = pieces.concat();
            // The first prefix that ends in one of the strings decides.
            let ends = whole.char_indices().map(|(at, c)| at + c.len_utf8());
            let end = ends
                .filter_map(|end| {
                    let done = stops.iter().filter(|stop| whole[..end].ends_with(stop.as_str()));
                    done.map(|stop| end - stop.len()).min()
                })
                .next();
            let (mut out, mut stopped) = (String::new(), false);
            let mut text = Stops::new(&stops);
            for piece in &pieces {
                let (more, found) = text.push(piece);
                out.push_str(&more);
                if found {
                    stopped = true;
                    break;
                }
            }
            if !stopped {
                out.push_str(&text.finish());
            }
            prop_assert_eq!(stopped, end.is_some());
            prop_assert_eq!(out, &whole[..end.unwrap_or(whole.len())]);
        }
    }
}
