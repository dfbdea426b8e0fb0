// Batches for the training step: see batch_feed.h.
#include "basin/tools/common/batch_feed.h"

namespace basin::tools {

BatchFeed::BatchFeed(const PointCloudLoader& loader, TrainStep& step)
    : loader_(loader), step_(step) {}

void BatchFeed::send(int64_t epoch, int64_t index) {
  ahead_ = {epoch, index, loader_.batch(epoch, index)};
  const PointBatch& batch = ahead_->batch;
  if (!points_) {
    points_.emplace(step_.device(), batch.points.bytes());
    labels_.emplace(step_.device(), batch.labels.bytes());
  }
  points_->send(batch.points);
  labels_->send(batch.labels);
}

void BatchFeed::receive() {
  const Shape& shape = ahead_->batch.points.shape();
  step_.make_places(shape);
  if (step_.points().dtype() == DType::f32) {
    points_->receive(step_.points());
  } else {
    if (!arrived_.defined() || !(arrived_.shape() == shape)) {
      arrived_ = Tensor::empty(shape, DType::f32, step_.device());
    }
    points_->receive(arrived_);
    step_.points().copy_from(arrived_.to(step_.points().dtype()));
  }
  labels_->receive(step_.labels());
}

void BatchFeed::send_ahead(int64_t epoch, int64_t index) {
  if (step_.device() != Device::cpu && !ahead_) send(epoch, index);
}

PointBatch BatchFeed::take(int64_t epoch, int64_t index) {
  if (step_.device() == Device::cpu) {
    PointBatch batch = loader_.batch(epoch, index);
    step_.set_batch(batch.points, batch.labels);
    return batch;
  }
  if (ahead_ && (ahead_->epoch != epoch || ahead_->index != index)) {
    receive();  // another one than announced: it is dropped
    ahead_.reset();
  }
  if (!ahead_) send(epoch, index);
  receive();
  PointBatch batch = std::move(ahead_->batch);
  ahead_.reset();
  return batch;
}

}  // namespace basin::tools
