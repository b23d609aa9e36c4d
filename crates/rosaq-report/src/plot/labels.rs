//! Labels of points that neither cover each other nor any point.

/// Width of a character at the figures' font size of 11 px, on the safe side for digits and Latin letters.
const CHARACTER: f64 = 6.4;

/// Height of a line of text.
const LINE: f64 = 12.0;

/// Half the side of the square that a point needs.
const POINT: f64 = 6.0;

/// An upright rectangle.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    fn meets(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    fn within(&self, other: &Self) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}

/// Where a text begins, by the left end of its baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) text: String,
}

/// Finds a place beside each of `points` for the first of its `texts` that fits into `area`, longer ones first; `None` where
/// none does.
pub(crate) fn place_labels(
    points: &[(f64, f64)],
    texts: &[Vec<String>],
    area: Rect,
) -> Vec<Option<Placed>> {
    let square = |&(x, y): &(f64, f64)| Rect {
        left: x - POINT,
        top: y - POINT,
        right: x + POINT,
        bottom: y + POINT,
    };
    let mut taken: Vec<Rect> = points.iter().map(square).collect();
    let mut place = |point: &(f64, f64), texts: &Vec<String>| {
        let options = texts.iter().flat_map(|text| candidates(*point, text));
        let free = |(rect, _): &(Rect, Placed)| {
            rect.within(&area) && !taken.iter().any(|other| rect.meets(other))
        };
        let (rect, placed) = options.into_iter().find(free)?;
        taken.push(rect);
        Some(placed)
    };
    points.iter().zip(texts).map(|(point, texts)| place(point, texts)).collect()
}

/// The text to the right, left, above, below, and at the four corners of the point.
fn candidates((x, y): (f64, f64), text: &str) -> [(Rect, Placed); 8] {
    let width = CHARACTER * text.chars().count() as f64;
    let (right, left, center) = (x + POINT + 2.0, x - POINT - 2.0 - width, x - 0.5 * width);
    let (above, middle, below) = (y - POINT - LINE, y - 0.5 * LINE, y + POINT);
    let starts = [
        (right, middle),
        (left, middle),
        (center, above),
        (center, below),
        (right - POINT, above),
        (right - POINT, below),
        (left + POINT, above),
        (left + POINT, below),
    ];
    starts.map(|(left, top)| {
        let rect = Rect { left, top, right: left + width, bottom: top + LINE };
        // The baseline leaves a quarter of the line for descenders.
        (rect, Placed { x: left, y: top + 0.75 * LINE, text: text.to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_give_way() {
        let area = Rect { left: 0.0, top: 0.0, right: 300.0, bottom: 100.0 };
        let texts = |n: usize| vec![format!("{n} a rather long label"), n.to_string()];
        let points = [(50.0, 50.0), (60.0, 52.0), (290.0, 50.0)];
        let placed = place_labels(&points, &[texts(1), texts(2), texts(3)], area);
        let placed: Vec<_> = placed.into_iter().flatten().collect();
        assert_eq!(placed.len(), 3);
        assert!(placed[2].x < 290.0, "the last one has no room on its right");
        let crowd = vec![(150.0, 50.0); 40];
        let n_labels =
            place_labels(&crowd, &vec![texts(1); 40], area).into_iter().flatten().count();
        assert!((1..40).contains(&n_labels), "{n_labels}");
    }
}
