// Padded arrays: num_atoms [N], charges [N, M] (atomic numbers, 0 behind the last atom), positions
// [N, M, 3], index [N] if there is one, and a column [N] per property.
#include "basin/datasets/detail/qm9_atoms.h"
#include "basin/datasets/npz.h"

namespace basin {
namespace {

class PaddedMolecules {
 public:
  explicit PaddedMolecules(const fs::path& path) : name_(path.string()), file_(path) {}

  Qm9Set read() {
    const Tensor counts = integers("num_atoms");
    if (counts.rank() != 1) fault("num_atoms", "expected one axis, got ", counts.shape());
    molecules_ = counts.numel();
    if (molecules_ == 0) fault("num_atoms", "expected molecules, found none");
    const Tensor charges = integers("charges"), positions = floats("positions");
    if (charges.rank() != 2 || charges.size(0) != molecules_) {
      fault("charges", "expected [", molecules_, ", M], got ", charges.shape());
    }
    const int64_t most = charges.size(1);
    if (!(positions.shape() == Shape{molecules_, most, 3})) {
      fault("positions", "expected [", molecules_, ", ", most, ", 3], got ", positions.shape());
    }
    read_properties();
    Tensor index;
    if (file_.contains("index")) index = column(integers("index"), "index");
    const int64_t* count = counts.data<int64_t>();
    for (int64_t m = 0; m < molecules_; ++m) {
      if (count[m] < 1 || count[m] > std::min(most, kMaxAtoms)) {
        fault("num_atoms", "row ", m, ": expected 1 to ", std::min(most, kMaxAtoms), " atoms, got ",
              count[m]);
      }
      add_atoms(charges.data<int64_t>() + m * most, positions.data<double>() + m * most * 3,
                count[m], most, m);
      const int64_t id = index.defined() ? index.data<int64_t>()[m] : m + 1;
      if (id < 1) fault("index", "row ", m, ": expected an identifier from 1 on, got ", id);
      finish(id, m);
    }
    out_.own_ids = index.defined();
    out_.source = name_;
    return std::move(out_);
  }

 private:
  template <class... A>
  [[noreturn]] void fault(std::string_view member, const A&... parts) const {
    fail(ErrorKind::data, name_, "(", member, ".npy): ", parts...);
  }

  Tensor integers(std::string_view member) const {
    const Tensor t = file_.read(member);
    if (is_float(t.dtype())) fault(member, "expected integers, got ", name_of(t.dtype()));
    return t.to(DType::i64);
  }
  Tensor floats(std::string_view member) const { return file_.read(member).to(DType::f64); }

  Tensor column(const Tensor& t, std::string_view member) const {
    if (t.numel() != molecules_ || t.rank() > 2) {
      fault(member, "expected ", molecules_, " values, got ", t.shape());
    }
    return t;
  }

  void read_properties() {
    for (const std::string& member : file_.names()) {
      const int which = qm9_property(member);
      if (which < 0) continue;
      Tensor& place = columns_[static_cast<size_t>(which)];
      if (place.defined()) fault(member, "expected each property once, it is there again");
      place = column(floats(member), member);
      for (int64_t m = 0; m < molecules_; ++m) {
        if (!std::isfinite(place.data<double>()[m])) {
          fault(member, "row ", m, ": expected a number, got ", place.data<double>()[m]);
        }
      }
    }
  }

  void add_atoms(const int64_t* z, const double* x, int64_t count, int64_t most, int64_t row) {
    for (int64_t i = 0; i < most; ++i) {
      if (i < count ? z[i] < 1 || z[i] > 118 : z[i] != 0) {
        fault("charges", "row ", row, ": expected ", count, " atomic numbers and then 0, got ",
              z[i], " at ", i);
      }
    }
    for (int64_t i = 0; i < 3 * count; ++i) {
      if (!(std::abs(x[i]) <= kLargestCoordinate)) {
        fault("positions", "row ", row, ": expected coordinates in Angstrom of at most ",
              kLargestCoordinate, ", got ", x[i]);
      }
    }
    out_.z.insert(out_.z.end(), z, z + count);
    out_.positions.insert(out_.positions.end(), x, x + 3 * count);
  }

  void finish(int64_t id, int64_t row) {
    std::array<double, kQm9Properties> values = nothing_known();
    for (size_t p = 0; p < kQm9Properties; ++p) {
      if (columns_[p].defined()) values[p] = columns_[p].data<double>()[row];
    }
    out_.finish_molecule(id, values);
  }

  std::string name_;
  NpzFile file_;
  int64_t molecules_ = 0;
  std::array<Tensor, kQm9Properties> columns_;
  Qm9Set out_;
};

}  // namespace

Qm9Set read_molecules_npz(const fs::path& path) { return PaddedMolecules(path).read(); }

}  // namespace basin
