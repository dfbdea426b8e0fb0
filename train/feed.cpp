// Sending ahead and receiving. An upload carries tensors up to a size that it is made for; a larger
// batch gets larger uploads.
#include "basin/train/feed.h"

namespace basin {

BatchFeed::BatchFeed(const Source& source, TrainStep& step) : source_(source), step_(step) {}

void BatchFeed::send(int64_t epoch, int64_t index) {
  ahead_ = {epoch, index, source_.batch(epoch, index)};
  const Tensors& tensors = ahead_->batch.tensors;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (i == uploads_.size()) {
      uploads_.emplace_back(step_.device(), tensors[i].bytes());
      room_.push_back(tensors[i].bytes());
    } else if (tensors[i].bytes() > room_[i]) {
      uploads_[i] = Upload(step_.device(), tensors[i].bytes());
      room_[i] = tensors[i].bytes();
    }
    uploads_[i].send(tensors[i]);
  }
}

void BatchFeed::receive() {
  const Batch& batch = ahead_->batch;
  step_.make_places(batch);
  arrived_.resize(batch.tensors.size());
  for (size_t i = 0; i < batch.tensors.size(); ++i) {
    const Tensor& sent = batch.tensors[i];
    Tensor& place = step_.places().tensors[i];
    if (place.dtype() == sent.dtype()) {
      uploads_[i].receive(place);
      continue;
    }
    Tensor& there = arrived_[i];
    if (!there.defined() || !(there.shape() == sent.shape())) {
      there = Tensor::empty(sent.shape(), sent.dtype(), step_.device());
    }
    uploads_[i].receive(there);
    place.copy_from(there.to(place.dtype()));
  }
}

void BatchFeed::send_ahead(int64_t epoch, int64_t index) {
  if (step_.device() != Device::cpu && !step_.in_parts() && !ahead_) send(epoch, index);
}

Batch BatchFeed::take(int64_t epoch, int64_t index) {
  if (step_.device() == Device::cpu || step_.in_parts()) {
    Batch batch = source_.batch(epoch, index);
    step_.set_batch(batch);
    return batch;
  }
  if (ahead_ && (ahead_->epoch != epoch || ahead_->index != index)) {
    receive();  // another one than announced: it is dropped
    ahead_.reset();
  }
  if (!ahead_) send(epoch, index);
  receive();
  Batch batch = std::move(ahead_->batch);
  ahead_.reset();
  return batch;
}

}  // namespace basin
