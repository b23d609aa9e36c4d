//! Small changes to a PTX text. Each panics when it changes nothing, so that a compiler that writes
//! another text is noticed.

/// Which operand of the swizzles is the number of the piece: of the copies, of ldmatrix.
const PIECE_OF_SWIZZLE: [usize; 2] = [2, 1];

/// A PTX text.
pub struct Text(pub String);

impl Text {
    /// The committed text of `kernels/decode.cu`.
    pub fn decode() -> Self {
        Self(rosaq_cuda::DECODE_PTX.to_owned())
    }

    fn set(&mut self, lines: Vec<String>) {
        let text = lines.join("\n") + "\n";
        assert!(text != self.0, "the patch changes nothing");
        self.0 = text;
    }

    /// Replaces every occurrence.
    pub fn replace(&mut self, from: &str, to: &str) {
        let text = self.0.replace(from, to);
        assert!(text != self.0, "`{from}` does not occur");
        self.0 = text;
    }

    /// Drops every `n`-th line that contains `what`.
    pub fn drop_every(&mut self, n: usize, what: &str) {
        let mut found = 0;
        let keep = |line: &&str| {
            found += usize::from(line.contains(what));
            !line.contains(what) || found % n != 0
        };
        let lines = self.0.lines().filter(keep).map(str::to_owned).collect();
        self.set(lines);
    }

    /// Drops the lines that contain `what` and follow one that contains `marker`.
    pub fn drop_after(&mut self, marker: &str, what: &str) {
        self.drop_lines(|line, before| line.contains(what) && before.contains(marker));
    }

    /// Changes the lines right after those that contain `marker`.
    pub fn edit_after(&mut self, marker: &str, change: impl Fn(&str) -> String) {
        let mut before = "";
        let mut lines = Vec::new();
        for line in self.0.lines() {
            lines.push(if before.contains(marker) { change(line) } else { line.to_owned() });
            before = line;
        }
        self.set(lines);
    }

    /// Makes the first xor of two registers (the swizzle of the copies), or the second (that of
    /// ldmatrix), as if the number of the row were zero.
    pub fn plain_xor(&mut self, number: usize) {
        let is_swizzle = |line: &&str| line.contains("xor.b32") && line.matches('%').count() == 3;
        let line = self.0.lines().filter(is_swizzle).nth(number).expect("a swizzle").to_owned();
        let operands: Vec<&str> =
            line.split([' ', '\t', ',', ';']).filter(|s| s.starts_with('%')).collect();
        let piece = operands[PIECE_OF_SWIZZLE[number]];
        self.replace(&line, &format!("mov.u32 {}, {piece};", operands[0]));
    }

    /// Replaces parameter `number` by a constant in all comparisons with it.
    pub fn compare_parameter(&mut self, number: usize, compare: &str, constant: &str) {
        let parameter = format!("_param_{number}]");
        let load = self.0.lines().find(|line| line.contains(&parameter)).expect("a load of it");
        let register = load.split_whitespace().nth(1).expect("a register").trim_end_matches(',');
        let end = format!(", {register};");
        self.edit_lines(compare, |line| line.replace(&end, &format!(", {constant};")));
    }

    /// Changes every line that contains `what`.
    pub fn edit_lines(&mut self, what: &str, change: impl Fn(&str) -> String) {
        let edit = |line: &str| if line.contains(what) { change(line) } else { line.to_owned() };
        let lines = self.0.lines().map(edit).collect();
        self.set(lines);
    }

    /// Drops the lines that `unwanted` names from the line and the one before it.
    pub fn drop_lines(&mut self, unwanted: impl Fn(&str, &str) -> bool) {
        let mut before = "";
        let mut lines = Vec::new();
        for line in self.0.lines() {
            if !unwanted(line, before) {
                lines.push(line.to_owned());
            }
            before = line;
        }
        self.set(lines);
    }
}
