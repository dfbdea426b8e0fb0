// .mat of level 5: files of scipy and of another machine's byte order, what is listed and refused,
// and hostile ones. How the fixtures are made: tests/fixtures/make_mat5.py.
#include "basin/datasets/mat5.h"

#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "basin/analysis/pde/burgers.h"
#include "basin/tests/core/files.h"

using namespace basin;
using test::check_error;

namespace {

using Bytes = std::vector<uint8_t>;

// Writes elements in either byte order.
struct MatWriter {
  bool big = false;
  Bytes out = {};

  template <class T>
  MatWriter& put(T value) {
    Bytes raw(sizeof value);
    std::memcpy(raw.data(), &value, sizeof value);
    if (big) std::reverse(raw.begin(), raw.end());
    out.insert(out.end(), raw.begin(), raw.end());
    return *this;
  }
  MatWriter& append(const Bytes& bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
    return *this;
  }
  MatWriter& element(uint32_t type, const Bytes& content) {
    put<uint32_t>(type).put<uint32_t>(static_cast<uint32_t>(content.size())).append(content);
    while (out.size() % 8 != 0) out.push_back(0);
    return *this;
  }
  MatWriter& small(uint32_t type, const Bytes& content) {  // in the tag
    put<uint32_t>(static_cast<uint32_t>(content.size()) << 16 | type).append(content);
    while (out.size() % 8 != 0) out.push_back(0);
    return *this;
  }
};

template <class T>
Bytes stored_as(bool big, const std::vector<T>& values) {
  MatWriter w{.big = big};
  for (const T v : values) w.put(v);
  return w.out;
}

struct MatArray {  // what can be said, or lied about, of one variable
  bool big = false;
  uint32_t type = 14, flags_type = 6, array_class = 6, sizes_type = 5, name_type = 1,
           number_type = 2;
  uint64_t claimed = 0;  // size in the tag, where not 0
  std::vector<int32_t> sizes{2, 3};
  std::string name = "a";
  Bytes numbers{1, 2, 3, 4, 5, 6};

  Bytes bytes() const {
    MatWriter w{.big = big};
    w.element(flags_type, MatWriter{.big = big}.put(array_class).put<uint32_t>(0).out);
    w.element(sizes_type, stored_as(big, sizes));
    w.element(name_type, {name.begin(), name.end()}).element(number_type, numbers);
    MatWriter whole{.big = big};
    whole.put(type).put(static_cast<uint32_t>(claimed != 0 ? claimed : w.out.size()));
    return whole.append(w.out).out;
  }
};

Bytes with_header(const std::vector<Bytes>& variables, bool big = false, uint16_t version = 0x100) {
  MatWriter w{.big = big};
  const std::string text = "MATLAB 5.0 MAT-file";
  w.append({text.begin(), text.end()}).out.resize(124, ' ');
  w.put(version).put<uint16_t>('M' << 8 | 'I');
  for (const Bytes& v : variables) w.append(v);
  return w.out;
}

Bytes as_deflated(const Bytes& bytes, bool big = false) {
  uLongf size = compressBound(bytes.size());
  Bytes packed_bytes(size);
  REQUIRE(compress2(packed_bytes.data(), &size, bytes.data(), bytes.size(), 9) == Z_OK);
  packed_bytes.resize(size);
  MatWriter w{.big = big};
  return w.put<uint32_t>(15).put(static_cast<uint32_t>(size)).append(packed_bytes).out;
}

void check_refused(const Bytes& bytes, std::vector<std::string> words) {
  words.insert(words.begin(), {"bad.mat", "offset"});
  check_error(ErrorKind::data, words, [&] { Mat5File(bytes, "bad.mat").read("a"); });
}

void check_spoiled(const std::function<void(MatArray&)>& spoil,
                   const std::vector<std::string>& words) {
  MatArray a;
  spoil(a);
  check_refused(with_header({a.bytes()}), words);
  check_refused(with_header({as_deflated(a.bytes())}), words);
}

void check_numbers(const Mat5File& file) {
  const std::vector<std::string> classes{"double", "single", "int8",   "uint8", "int16",
                                         "uint16", "int32",  "uint32", "int64", "uint64"};
  for (const std::string& name : classes) {
    INFO(name);
    const Tensor t = file.read(name);
    CHECK(t.dtype() == DType::f64);
    REQUIRE(t.shape() == Shape{3, 4});
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 4; ++j) CHECK(t.at(i * 4 + j) == i + 10 * j);
    }
  }
  const Tensor solid = file.read("solid");
  REQUIRE(solid.shape() == Shape{2, 3, 2});
  for (int64_t i = 0; i < 12; ++i) CHECK(solid.at(i) == i / 6 + 10 * (i / 2 % 3) + 100 * (i % 2));
  CHECK(file.read("empty").shape() == Shape{0, 5});
  CHECK(file.read("scalar").item() == 2.5);
  CHECK(file.read("flag").item() == 1);
  CHECK(file.names().size() == 14);
}

}  // namespace

TEST_CASE("mat5: every numeric class, plain and deflated, of scipy") {
  check_numbers(Mat5File(test::fixtures() / "mat5" / "numbers.mat"));
  check_numbers(Mat5File(test::fixtures() / "mat5" / "deflated.mat"));
}

TEST_CASE(
    "mat5: what is no full real array is listed, refused by its kind, and hides no neighbour") {
  const Mat5File file(test::fixtures() / "mat5" / "others.mat");
  CHECK(file.names() == std::vector<std::string>{"before", "complex", "text", "cell", "record",
                                                 "sparse", "large", "after"});
  CHECK(file.contains("record"));
  CHECK_FALSE(file.contains("x"));
  CHECK(file.read("before").to_vector<double>() == std::vector<double>{0, 1, 2});
  CHECK(file.read("after").shape() == Shape{2, 1});
  const auto refused = [&](const std::string& name, const std::string& what) {
    check_error(ErrorKind::data, {"others.mat", "offset", "'" + name + "'", what},
                [&] { file.read(name); });
  };
  refused("complex", "is complex");
  refused("text", "is text");
  refused("cell", "is a cell array");
  refused("record", "is a struct");
  refused("sparse", "is a sparse matrix");
  check_error(ErrorKind::data, {"others.mat", "offset", "2^53"}, [&] { file.read("large"); });
  check_error(ErrorKind::data, {"'none'", "before, complex"}, [&] { file.read("none"); });
}

TEST_CASE("mat5: numbers packed into another type, contents in the tag, both byte orders") {
  for (const bool big : {false, true}) {
    const auto check = [&](uint32_t type, const Bytes& numbers) {
      const MatArray a{.big = big, .number_type = type, .numbers = numbers};
      for (const Bytes& variable : {a.bytes(), as_deflated(a.bytes(), big)}) {
        const Tensor t = Mat5File(with_header({variable}, big), "t").read("a");
        CHECK(t.to_vector<double>() == std::vector<double>{1, 3, 5, 2, 4, 6});
      }
    };
    check(1, stored_as<int8_t>(big, {1, 2, 3, 4, 5, 6}));
    check(2, stored_as<uint8_t>(big, {1, 2, 3, 4, 5, 6}));
    check(3, stored_as<int16_t>(big, {1, 2, 3, 4, 5, 6}));
    check(4, stored_as<uint16_t>(big, {1, 2, 3, 4, 5, 6}));
    check(5, stored_as<int32_t>(big, {1, 2, 3, 4, 5, 6}));
    check(6, stored_as<uint32_t>(big, {1, 2, 3, 4, 5, 6}));
    check(7, stored_as<float>(big, {1, 2, 3, 4, 5, 6}));
    check(9, stored_as<double>(big, {1, 2, 3, 4, 5, 6}));
    check(12, stored_as<int64_t>(big, {1, 2, 3, 4, 5, 6}));
    check(13, stored_as<uint64_t>(big, {1, 2, 3, 4, 5, 6}));
    MatWriter w{.big = big};
    w.element(6, MatWriter{.big = big}.put<uint32_t>(6).put<uint32_t>(0).out);
    w.element(5, stored_as<int32_t>(big, {1, 2}))
        .small(1, {'a', 'b'})
        .small(3, stored_as<int16_t>(big, {-7, 9}));
    MatWriter whole{.big = big};
    whole.put<uint32_t>(14).put(static_cast<uint32_t>(w.out.size())).append(w.out);
    CHECK(Mat5File(with_header({whole.out}, big), "t").read("ab").to_vector<double>() ==
          std::vector<double>{-7, 9});
  }
}

TEST_CASE("mat5: unnamed variables are passed over, the last filling may be missing") {
  Bytes bytes = with_header({MatArray{.name = ""}.bytes(), MatArray{}.bytes()});
  CHECK(Mat5File(bytes, "t").names() == std::vector<std::string>{"a"});
  MatArray bare;
  Bytes variable = bare.bytes();
  variable.resize(variable.size() - 2);  // six numbers, filled up to eight
  variable[4] = static_cast<uint8_t>(variable.size() - 8);
  CHECK(Mat5File(with_header({variable}), "t").read("a").at(5) == 6);
}

TEST_CASE("mat5: a variable that packs as well as deflate can") {
  MatArray zeros{.sizes = {1000, 3000}, .numbers = Bytes(3'000'000)};
  const Bytes bytes = with_header({as_deflated(zeros.bytes())});
  CHECK(bytes.size() < 4000);
  CHECK(Mat5File(bytes, "t").read("a").numel() == 3'000'000);
}

TEST_CASE("mat5: files of other kinds are called by their name") {
  check_refused(with_header({}, false, 0x200), {"version 7.3", "HDF5", "-v7"});
  check_refused(Bytes{0, 0, 0, 0, 3, 0, 0, 0}, {"level 4", "-v7"});
  check_refused(with_header({}, false, 0x300), {"expected version 256, got 768"});
  Bytes other(200, 'x');
  const std::string hdf5 = "\x89HDF\r\n\x1A\n";
  std::copy(hdf5.begin(), hdf5.end(), other.begin());
  check_refused(other, {"byte order", "this is an HDF5 file"});
  check_refused({}, {"header", "0 bytes are left"});
  check_refused(Bytes(100, 'M'), {"version"});
  check_error(ErrorKind::data, {"bad.mat", "'a'"},
              [] { Mat5File(with_header({}), "bad.mat").read("a"); });
}

TEST_CASE("mat5: hostile variables") {
  check_spoiled([](MatArray& a) { a.type = 13; }, {"variable (type 14", "got"});
  check_spoiled([](MatArray& a) { a.flags_type = 5; }, {"array flags", "type 5"});
  check_spoiled([](MatArray& a) { a.array_class = 0; }, {"class from 1 to 17, got 0"});
  check_spoiled([](MatArray& a) { a.array_class = 18; }, {"class", "18"});
  check_spoiled([](MatArray& a) { a.array_class = 6 | 0x800; }, {"'a' is complex"});
  check_spoiled([](MatArray& a) { a.array_class = 16; }, {"'a' is a function"});
  check_spoiled([](MatArray& a) { a.sizes_type = 6; }, {"sizes", "type 6"});
  check_spoiled([](MatArray& a) { a.sizes = {6}; }, {"2 to 8 sizes", "4 bytes"});
  check_spoiled([](MatArray& a) { a.sizes = {1, 1, 1, 1, 1, 1, 1, 2, 3}; }, {"2 to 8 sizes"});
  check_spoiled([](MatArray& a) { a.sizes = {-2, -3}; }, {"sizes from 0 on", "-2"});
  check_spoiled([](MatArray& a) { a.sizes = {2, 4}; }, {"expected 8 bytes", "got 6"});
  check_spoiled([](MatArray& a) { a.sizes = {0x7FFFFFFF, 0x7FFFFFFF}; }, {"63 bits"});
  check_spoiled([](MatArray& a) { a.sizes = {0, 0x7FFFFFFF, 0x7FFFFFFF}; }, {"63 bits"});
  check_spoiled([](MatArray& a) { a.name_type = 9; }, {"name", "type 9"});
  check_spoiled([](MatArray& a) { a.name = "a\nb"; }, {"printable", "a?b"});
  check_spoiled([](MatArray& a) { a.number_type = 8; }, {"expected numbers, got type 8"});
  check_spoiled([](MatArray& a) { a.number_type = 14; }, {"expected numbers, got type 14"});
  check_spoiled([](MatArray& a) { a.number_type = 9; }, {"expected 48 bytes", "got 6"});
  check_spoiled([](MatArray& a) { a.number_type = 5 << 16 | 2; }, {"at most 4 bytes", "5"});
  check_refused(with_header({MatArray{}.bytes(), MatArray{}.bytes()}), {"'a' is there twice"});
  Bytes longer = MatArray{}.bytes();
  longer.insert(longer.end(), 8, 0);
  longer[4] = static_cast<uint8_t>(longer.size() - 8);
  check_refused(with_header({longer}), {"variable to end", "8 bytes"});
  check_refused(with_header({Bytes(3)}), {"a variable", "3 bytes are left"});
  check_refused(with_header({MatArray{.claimed = 0xFFFFFFF0}.bytes()}), {"4294967280 bytes"});
}

TEST_CASE("mat5: hostile deflated variables") {
  const Bytes good = as_deflated(MatArray{}.bytes());
  Bytes spoiled = good;
  spoiled[20] ^= 0xFF;
  check_refused(with_header({spoiled}), {"compressed bytes of a variable"});
  spoiled = good;
  spoiled.back() ^= 1;  // the checksum
  check_refused(with_header({spoiled}), {"damaged"});
  check_refused(with_header({as_deflated(MatArray{.claimed = 1000}.bytes())}), {"inflate to 1008"});
  check_refused(with_header({as_deflated(MatArray{.claimed = 40}.bytes())}), {"damaged"});
  check_refused(with_header({as_deflated(MatArray{.claimed = 0xFFFFFFF0}.bytes())}),
                {"ratio", "4294967288"});
  check_refused(with_header({as_deflated(Bytes{14, 0, 0, 0})}), {"damaged"});
  check_refused(with_header({as_deflated(good)}), {"type 14", "got 15"});
  spoiled = good;
  spoiled.push_back(0);
  ++spoiled[4];
  check_refused(with_header({spoiled}), {"damaged"});  // bytes behind the stream
  // A name that begins beyond what is opened when the file is.
  check_refused(
      with_header({as_deflated(MatArray{.sizes = std::vector<int32_t>(2000, 1)}.bytes())}),
      {"variable at offset 136, unpacked", "sizes"});
}

TEST_CASE("mat5: the published reference of Burgers' equation") {
  const fs::path folder = test::real_data("burgers");
  if (folder.empty()) return;
  const Mat5File file(folder / "burgers_shock.mat");
  CHECK(file.names() == std::vector<std::string>{"x", "t", "usol"});
  const Tensor x = file.read("x"), t = file.read("t"), u = file.read("usol");
  CHECK(x.shape() == Shape{256, 1});
  CHECK(t.shape() == Shape{100, 1});
  CHECK(u.shape() == Shape{256, 100});
  CHECK(x.at(0) == -1);
  CHECK(t.at(99) == doctest::Approx(0.99));
  const Tensor exact = burgers_grid(x.view({256}), t.view({100}));
  double worst = 0;
  for (int64_t i = 0; i < u.numel(); ++i) {
    worst = std::max(worst, std::abs(u.at(i) - exact.at(i % 100 * 256 + i / 100)));
  }
  CHECK(worst < 1e-10);
}
