// .npz: round trip, a deflated member, real files written by numpy, and hostile archives.
#include "basin/datasets/npz.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <functional>

#include "basin/datasets/npy.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

void put(std::vector<uint8_t>& out, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

struct Member {
  std::string name = "a.npy", local_name = "a.npy";
  uint64_t flags = 0, method = 8, crc = 0, packed = 0, size = 0, offset = 0;
  std::vector<uint8_t> bytes;
};

Member deflated(const std::vector<uint8_t>& body) {
  Member m;
  m.bytes.resize(compressBound(body.size()) + 64);
  z_stream s{};
  REQUIRE(deflateInit2(&s, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  s.next_in = const_cast<Bytef*>(body.data());
  s.avail_in = static_cast<uInt>(body.size());
  s.next_out = m.bytes.data();
  s.avail_out = static_cast<uInt>(m.bytes.size());
  REQUIRE(deflate(&s, Z_FINISH) == Z_STREAM_END);
  m.bytes.resize(s.total_out);
  deflateEnd(&s);
  m.packed = m.bytes.size();
  m.size = body.size();
  m.crc = crc32(0, body.data(), static_cast<uInt>(body.size()));
  return m;
}

// An archive with these members, whatever they claim.
std::vector<uint8_t> archive(const std::vector<Member>& members, const std::string& comment = "") {
  std::vector<uint8_t> out, directory;
  for (const Member& m : members) {
    const uint64_t offset = out.size() + m.offset;
    put(out, 0x04034b50, 4);
    for (int i = 0; i < 22; ++i) out.push_back(0);  // blank, as streaming writers leave it
    put(out, m.local_name.size(), 2);
    put(out, 0, 2);
    out.insert(out.end(), m.local_name.begin(), m.local_name.end());
    out.insert(out.end(), m.bytes.begin(), m.bytes.end());
    put(directory, 0x02014b50, 4);
    put(directory, 0, 4);
    put(directory, m.flags, 2), put(directory, m.method, 2), put(directory, 0, 4);
    put(directory, m.crc, 4), put(directory, m.packed, 4), put(directory, m.size, 4);
    put(directory, m.name.size(), 2), put(directory, 0, 4), put(directory, 0, 8);
    put(directory, offset, 4);
    directory.insert(directory.end(), m.name.begin(), m.name.end());
  }
  const uint64_t start = out.size();
  out.insert(out.end(), directory.begin(), directory.end());
  put(out, 0x06054b50, 4), put(out, 0, 4);
  put(out, members.size(), 2), put(out, members.size(), 2);
  put(out, directory.size(), 4), put(out, start, 4), put(out, comment.size(), 2);
  out.insert(out.end(), comment.begin(), comment.end());
  return out;
}

Member good() { return deflated(serialize_npy(Tensor::full({40}, DType::f64, 2.5))); }

void refused(const std::function<void(Member&)>& spoil, std::vector<std::string> words) {
  Member m = good();
  spoil(m);
  words.insert(words.begin(), {"bad.npz", "offset"});
  check_error(ErrorKind::data, words, [&] { NpzFile(archive({m}), "bad.npz").read("a"); });
}

}  // namespace

TEST_CASE("npz: round trip") {
  const test::TempDir dir;
  const Tensor x = Tensor::from(std::vector<float>{1, 2, 3}, {3});
  const Tensor y = Tensor::from(std::vector<int64_t>{-4}, {1, 1});
  write_npz(dir / "t.npz", {{"x", x}, {"group/y", y}});
  const NpzFile file(dir / "t.npz");
  CHECK(file.names() == std::vector<std::string>{"x", "group/y"});
  CHECK(file.contains("x"));
  CHECK_FALSE(file.contains("z"));
  CHECK(file.read("x").to_vector<float>() == x.to_vector<float>());
  CHECK(file.read("group/y").at(0) == -4);
  CHECK(file.read("group/y").shape() == Shape{1, 1});
  check_error(ErrorKind::data, {"t.npz", "'z'", "x, group/y"}, [&] { file.read("z"); });
  check_error(ErrorKind::usage, {"distinct"}, [&] { serialize_npz({{"x", x}, {"x", x}}); });
  check_error(ErrorKind::usage, {"relative"}, [&] { serialize_npz({{"../x", x}}); });
  CHECK(NpzFile(serialize_npz({}), "none").names().empty());
}

TEST_CASE("npz: deflated members and an archive comment") {
  const NpzFile file(archive({good()}, "made by hand"), "t.npz");
  const Tensor t = file.read("a");
  CHECK(t.shape() == Shape{40});
  CHECK(t.at(39) == 2.5);
}

TEST_CASE("npz: members that pack as well as deflate can") {
  const NpzFile zeros(archive({deflated(serialize_npy(Tensor::zeros({1'000'000}, DType::f64)))}),
                      "t");
  CHECK(zeros.read("a").numel() == 1'000'000);
  Tensor labels = Tensor::empty({300'000}, DType::i64);
  for (int64_t i = 0; i < labels.numel(); ++i) labels.mutable_data<int64_t>()[i] = i / 30'000;
  const NpzFile sorted(archive({deflated(serialize_npy(labels))}), "t");
  CHECK(sorted.read("a").at(299'999) == 9);
}

TEST_CASE("npz: a file of another kind is called by its name") {
  const auto refused = [](std::string_view bytes, const std::string& what) {
    check_error(ErrorKind::data, {"a.npz", "offset", what}, [&] {
      NpzFile({bytes.begin(), bytes.end()}, "a.npz");
    });
  };
  refused("\x93NUMPY\x01", "no .npz file, this is a .npy array");
  refused("\x89HDF\r\n\x1A\n", "this is an HDF5 file");
  Member weights = good();
  weights.name = weights.local_name = "archive/data.pkl";
  const auto bytes = archive({weights});
  refused({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
          "this is an archive of torch.save");
}

TEST_CASE("npz: hostile members") {
  refused([](Member& m) { m.crc ^= 1; }, {"checksum"});
  refused([](Member& m) { m.bytes[5] ^= 0xFF; }, {"damaged"});
  refused([](Member& m) { m.size += 1; }, {"inflate to"});
  refused([](Member& m) { m.size -= 1; }, {"inflate to"});
  refused([](Member& m) { m.size = 1033 * m.packed + 4096; }, {"ratio"});
  refused([](Member& m) { m.packed = 1'000'000; }, {"member's bytes"});
  refused([](Member& m) { m.method = 12; }, {"compression 12"});
  refused([](Member& m) { m.method = 0; }, {"two sizes differ"});
  refused([](Member& m) { m.flags = 1; }, {"encrypted"});
  refused([](Member& m) { m.size = 0xFFFFFFFF; }, {"4 GB"});
  refused([](Member& m) { m.offset = 7; }, {"local header"});
  refused([](Member& m) { m.offset = 0x7FFFFFFF; }, {"local header"});
  refused([](Member& m) { m.local_name = "b.npy"; }, {"local name"});
  refused([](Member& m) { m.packed = 0xFFFFFFFF; }, {"4 GB"});
  refused([](Member& m) { m.offset = 0xFFFFFFFF; }, {"4 GB"});
  for (const char* name :
       {"/a.npy", "../a.npy", "x/../a.npy", "C:a.npy", "x\\a.npy", "", "..", "x/..", "a\n.npy"}) {
    refused([&](Member& m) { m.name = m.local_name = name; }, {"relative name"});
  }
  refused([](Member& m) { m.name = m.local_name = "a.pkl"; }, {".npy"});
  check_error(ErrorKind::data, {"twice"}, [] { NpzFile(archive({good(), good()}), "t"); });
  Member first = good(), second = good();
  second.name = "b.npy", second.local_name = "a.npy";
  second.offset = -static_cast<uint64_t>(first.bytes.size() + 30 + 5);  // onto the first
  second.name = second.local_name = "a.npy";
  first.name = "b.npy", first.local_name = "a.npy";
  check_error(ErrorKind::data, {"local name"}, [&] { NpzFile(archive({first, second}), "t"); });
}

TEST_CASE("npz: hostile directories") {
  // The end record's fields, counted back from the end of an archive without a comment.
  const auto spoiled = [](size_t back, std::vector<uint8_t> bytes,
                          const std::vector<std::string>& words) {
    std::vector<uint8_t> file = archive({good()});
    std::copy(bytes.begin(), bytes.end(), file.end() - static_cast<ptrdiff_t>(back));
    check_error(ErrorKind::data, words, [&] { NpzFile(file, "bad.npz"); });
  };
  spoiled(18, {1, 0}, {"bad.npz", "one piece"});  // number of this disk
  spoiled(16, {1, 0}, {"one piece"});             // disk of the directory
  spoiled(14, {2, 0}, {"one piece"});             // members on this disk
  spoiled(14, {0, 0, 0, 0}, {"directory to end at"});
  spoiled(14, {2, 0, 2, 0}, {"directory entry"});
  spoiled(14, {0x11, 0x27, 0x11, 0x27}, {"at most 10000 members", "got 10001"});
  spoiled(10, {0, 0}, {"directory to fill"});
  spoiled(6, {0xFF, 0xFF, 0xFF, 0}, {"directory to fill"});

  // Two members that share their bytes: a bomb's way to unpack the same bytes again and again.
  Member inner = good();
  inner.name = inner.local_name = "b.npy";
  Member outer = inner;
  outer.name = outer.local_name = "a.npy";
  outer.method = 0, outer.packed = outer.size = outer.bytes.size() + 1;  // into the next header
  check_error(ErrorKind::data, {"bad.npz: offset", "overlap"}, [&] {
    NpzFile(archive({outer, inner}), "bad.npz");
  });
}

TEST_CASE("npz: the writer refuses what the reader would") {
  const Tensor x = Tensor::zeros({1}, DType::f32);
  std::vector<std::pair<std::string, Tensor>> many;
  for (int i = 0; i <= 10'000; ++i) many.emplace_back(str("x", i), x);
  check_error(ErrorKind::usage, {"at most 10000", "10001"}, [&] { serialize_npz(many); });
  many.pop_back();
  CHECK(NpzFile(serialize_npz(many), "many").read("x9999").numel() == 1);
  check_error(ErrorKind::usage, {"relative"}, [&] {
    serialize_npz({{std::string(0x10000, 'x'), x}});
  });
}

TEST_CASE("npz: every truncation is a data error") {
  const auto bytes = serialize_npz({{"x", Tensor::zeros({4}, DType::f32)}});
  for (size_t n = 0; n < bytes.size(); ++n) {
    check_error(ErrorKind::data, {"t.npz", "offset", "end-of-directory"}, [&] {
      NpzFile({bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n)}, "t.npz");
    });
  }
}

TEST_CASE("npz: real file of numpy") {
  const fs::path path = test::real_data("qm9/npz/valid.npz");
  if (path.empty()) return;
  const NpzFile file(path);
  CHECK(file.read("num_atoms").shape() == Shape{1515});
  CHECK(file.read("positions").shape() == Shape{1515, 29, 3});
  CHECK(file.read("charges").dtype() == DType::i64);
}
