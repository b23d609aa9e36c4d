//! Directives that say something about a function, or nothing that matters here.

use super::Function;
use super::lexer::Kind;
use super::parser::Parser;
use crate::PtxError;

impl<'a> Parser<'a> {
    /// Skips a directive that carries no meaning for the emulator; tells whether it was one.
    pub(super) fn skip_note(&mut self, word: &str) -> Result<bool, PtxError> {
        match word {
            ".version" | ".target" | ".file" | ".loc" => {
                // These end with their line.
                let line = self.line();
                while self.line() == line && self.peek() != Kind::End {
                    self.next();
                }
            }
            ".address_size" => {
                self.next();
                if self.peek() != Kind::Int(64) {
                    return Err(self.error("an address size of 64"));
                }
                self.next();
            }
            ".pragma" | ".alias" => {
                while !self.take(';') {
                    if self.next() == Kind::End {
                        return Err(self.error("`;`"));
                    }
                }
            }
            ".section" => self.skip_section()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn skip_section(&mut self) -> Result<(), PtxError> {
        while !self.take('{') {
            if self.next() == Kind::End {
                return Err(self.error("`{`"));
            }
        }
        while !self.take('}') {
            if self.next() == Kind::End {
                return Err(self.error("`}`"));
            }
        }
        Ok(())
    }

    /// `.maxntid 256, 1, 1` and its like, between a function's head and its body.
    pub(super) fn function_directives(
        &mut self,
        function: &mut Function<'a>,
    ) -> Result<(), PtxError> {
        while let Kind::Word(word) = self.peek() {
            if self.skip_note(word)? {
                continue;
            }
            let line = self.line();
            self.next();
            match word {
                ".maxntid" => {
                    let [x, y, z] = self.three()?;
                    function.most_threads = Some(x.saturating_mul(y).saturating_mul(z));
                }
                ".reqntid" => function.required_threads = Some(self.three()?),
                ".minnctapersm" | ".maxnctapersm" | ".maxnreg" => {
                    self.int()?;
                }
                ".noreturn" => {}
                _ => return Err(PtxError::Directive { line, name: word.to_owned() }),
            }
        }
        Ok(())
    }

    fn three(&mut self) -> Result<[u32; 3], PtxError> {
        let mut sizes = [1; 3];
        for (i, size) in sizes.iter_mut().enumerate() {
            if i > 0 && !self.take(',') {
                break;
            }
            *size = u32::try_from(self.int()?).map_err(|_| self.error("a block size"))?;
        }
        Ok(sizes)
    }
}
