//! Request heads, pipelined and cut into any pieces: what goes on to hyper is what httparse reads, field by field.

pub fn judge(data: &[u8]) {
    super::requests::judge(data);
}
