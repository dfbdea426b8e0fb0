// What a probe leaves behind: PROBE/<part>.json, one file per part, each with the settings and the
// weights that its numbers depend on. A part that exists is read, not measured again; one that was
// made with other settings is never overwritten. Numbers are written so that they read back to the
// same bits; what is not finite is null.
//   A record is a struct with one function that names its fields, for writing and reading alike:
//     struct Tally { double mean = 0; std::vector<double> samples; };
//     void fields(FieldWalk& walk, Tally& t) { walk("mean", t.mean), walk("samples", t.samples); }
//   Fields are double, int64_t (a count), bool, std::string, Estimate, other records, and vectors
//   of these.
#pragma once
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "basin/analysis/estimate.h"
#include "basin/core/io.h"
#include "basin/core/record.h"

namespace basin::tools {

// Visits the fields of a record: a writer puts their values into a JSON object, a reader fills them
// from one (data errors naming the file and the field, as "record.weights[3].rows").
class FieldWalk {
 public:
  virtual ~FieldWalk() = default;

  template <class T>
  FieldWalk& operator()(const char* key, T& value) {
    enter(key);
    visit(value);
    leave();
    return *this;
  }
  // A text that may be missing: written where there is any, and empty where it is not found.
  FieldWalk& optional(const char* key, std::string& value) {
    return !value.empty() || has(key) ? (*this)(key, value) : *this;
  }

 protected:
  virtual bool has(const char* key) const = 0;  // there already; of a writer, never
  virtual void enter(const char* key) = 0;
  virtual void enter(size_t index) = 0;  // of a list
  virtual void leave() = 0;
  virtual void leaf(double& value) = 0;
  virtual void leaf(int64_t& value) = 0;
  virtual void leaf(bool& value) = 0;
  virtual void leaf(std::string& value) = 0;
  virtual void begin_object() = 0;
  virtual size_t begin_list(size_t size) = 0;  // the size of the list that is there

 private:
  template <class T>
  static constexpr bool kLeaf = std::is_same_v<T, double> || std::is_same_v<T, int64_t> ||
                                std::is_same_v<T, bool> || std::is_same_v<T, std::string>;
  template <class T>
  void visit(std::vector<T>& list) {
    const size_t size = begin_list(list.size());
    if (list.size() != size) list.clear();
    for (size_t i = 0; i < size; ++i) {
      if (i == list.size()) list.emplace_back();  // one by one: a hostile file fails at the first
      enter(i);
      visit(list[i]);
      leave();
    }
  }
  template <class T>
  void visit(T& value) {
    if constexpr (kLeaf<T>) {
      leaf(value);
    } else {
      begin_object();
      fields(*this, value);
    }
  }
};

void fields(FieldWalk& walk, Estimate& e);

using WalkRecord = std::function<void(FieldWalk&)>;  // walks the one field "record"
// {"identity": {..}, "record": ..}, atomically.
void write_part_file(const fs::path& file, const Record& identity, const WalkRecord& record);
// Data error: what is not JSON, lacks a field, holds another kind of value, more than a million
// values or more than 64 MB. Fields that are not of the record are passed over.
void read_part_file(const fs::path& file, const WalkRecord& record);
RecordFields read_identity(const fs::path& file);  // what the record depends on; data error

// What readers take for granted beyond the kinds of values; a part overloads it for its own record.
template <class R>
void check_record(const R&, const std::string& /*file*/) {}

template <class R>
R read_record(const fs::path& file) {
  R out{};
  read_part_file(file, [&](FieldWalk& walk) { walk("record", out); });
  check_record(out, file.string());
  return out;
}

// The files of one probe. `identity`: what a part depends on, as a flat object; writing gives every
// part its own copy.
class PartFiles {
 public:
  explicit PartFiles(fs::path dir) : dir_(std::move(dir)) {}
  fs::path file(const std::string& part) const { return dir_ / (part + ".json"); }
  bool has(const std::string& part) const;
  // output error naming the first setting that differs from `identity`, in which settings that
  // came later are left out at their default (Setting::added). What is said of the task
  // may be missing in files from before tasks had names.
  void refuse_other(const std::string& part, const Record& identity) const;
  template <class R>
  void write(const std::string& part, const Record& identity, R record) const {
    write_part_file(file(part), identity, [&](FieldWalk& walk) { walk("record", record); });
  }
  template <class R>
  R read(const std::string& part) const {
    return read_record<R>(file(part));
  }
  RecordFields identity(const std::string& part) const { return read_identity(file(part)); }

 private:
  fs::path dir_;
};

}  // namespace basin::tools
