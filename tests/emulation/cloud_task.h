// The classification of clouds as a task: all of it that a training step needs.
#pragma once
#include "basin/models/model.h"
#include "basin/train/task.h"

namespace basin::testing {

inline Task cloud_task(const Model& model) {
  Task task;
  task.name = "clouds";
  task.model = model;
  task.objective = [model](const Tensors& buffers, const Batch& batch, const ForwardOptions& mode) {
    return supervised(model, buffers, {batch.tensors[0]}, mode,
                      cross_entropy_loss(batch.tensors[1]), batch.examples);
  };
  return task;
}

}  // namespace basin::testing
